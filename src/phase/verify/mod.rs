//! Is the cluster really up? kine keeps what is written, the API server is ready, every node and system Pod is, and a Pod finds and
//! reaches a Service by its name.
//!
//! For the last, two Pods run for a moment in a namespace of their own. The host itself is only asked, so [`Query`] is enough.

mod judge;
mod look;
mod report;

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::artifact::catalogue::kine_image;
use crate::assets::Assets;
use crate::cluster::kine::listeners;
use crate::cluster::kine::probe::{self, Endpoint, Latency, ProbeError};
use crate::cluster::node::Node;
use crate::config::Cluster;
use crate::failure::{Failure, Kind};
use crate::remote::{Output, Query, Question, RemoteError};
use crate::render::render;

use judge::{Evidence, judge, nodes_are_ready};
use look::Look;
pub use report::{Item, Report};

/// Between two looks. Each is one round trip that the API server answers from its cache.
const PAUSE: Duration = Duration::from_millis(200);

/// The longest that one question may take; kubectl gives up before.
const ANSWER: Duration = Duration::from_secs(30);

#[derive(Serialize)]
struct Manifest<'a> {
    namespace: &'a str,
    image: String,
    domain: &'a str,
    /// The host names of the nodes that the Pods may be on.
    among: Vec<&'a str>,
    /// Whether client and server must run on different nodes.
    apart: bool,
}

/// Looks until all is well or `deadline` has passed, and reports what was found last. `progress` gets the lines of every look.
/// Nodes that go by a name or an address in `absent` are passed over, and `cluster` does not count them.
///
/// The failure is for what keeps verify itself from working: a template that cannot be used, a host that is gone.
pub async fn verify(
    host: &impl Query,
    cluster: &Cluster,
    node: &Node,
    assets: &Assets,
    absent: &BTreeSet<String>,
    deadline: Duration,
    progress: impl FnMut(&[Item]) + Send,
) -> Result<Report, Failure> {
    let begun = Instant::now();
    let nonce = nonce();
    let namespace = format!("etcdless-verify-{nonce}");
    let mut run = Run { host, cluster, node, assets, absent, namespace, nonce, probe: Ok(None), leftovers: Vec::new() };
    let looked = run.until(begun + deadline, progress).await;
    let cleaned = run.clean().await;
    let checks = looked?;
    cleaned?;
    let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(Report { cluster: cluster.metadata.name.to_string(), host: node.label.clone(), took_ms, checks })
}

struct Run<'a, Q> {
    host: &'a Q,
    cluster: &'a Cluster,
    node: &'a Node,
    assets: &'a Assets,
    absent: &'a BTreeSet<String>,
    namespace: String,
    nonce: String,
    /// The namespace of the probe once it was created, or why it was refused.
    probe: Result<Option<String>, String>,
    /// Namespaces that an interrupted verify left, known by Pods whose time is over.
    leftovers: Vec<String>,
}

impl<Q: Query> Run<'_, Q> {
    async fn until(&mut self, end: Instant, mut progress: impl FnMut(&[Item]) + Send) -> Result<Vec<Item>, Failure> {
        let (mut kine, mut look) = tokio::try_join!(self.kine(), self.look())?;
        loop {
            look.pass_over(self.absent);
            if nodes_are_ready(self.cluster, &look) && !matches!(self.probe, Ok(Some(_))) {
                self.create(&look).await?;
            }
            self.note_leftovers(&look);
            let items = self.judge(&kine, &look, "");
            progress(&items);
            if items.iter().all(|item| item.ok) {
                return Ok(items);
            }
            if Instant::now() >= end {
                let said = self.said().await?;
                return Ok(self.judge(&kine, &look, &said));
            }
            tokio::time::sleep(PAUSE).await;
            if kine.is_err() {
                (kine, look) = tokio::try_join!(self.kine(), self.look())?;
            } else {
                look = self.look().await?;
            }
        }
    }

    fn judge(&self, kine: &Result<Latency, ProbeError>, look: &Look, said: &str) -> Vec<Item> {
        judge(&Evidence { cluster: self.cluster, host: self.node, kine, look, probe: &self.probe, said })
    }

    /// How fast the slowest kine is, or what is wrong with the first that is unwell.
    async fn kine(&self) -> Result<Result<Latency, ProbeError>, Failure> {
        let mut slowest = Latency::default();
        for listener in listeners(self.cluster) {
            match probe::check(self.host, &Endpoint::of(&listener), &self.node.name, &self.nonce).await {
                Ok(Latency { write, read }) => {
                    slowest = Latency { write: slowest.write.max(write), read: slowest.read.max(read) };
                }
                Err(ProbeError::Remote(error)) if !is_answer(&error) => return Err(gone(&error)),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(slowest))
    }

    async fn look(&self) -> Result<Look, Failure> {
        let answer = self.ask(include_str!("../scripts/verify_look.sh"), Vec::new(), "").await?;
        Ok(answer.map_or_else(|reason| Look::failed(&reason), |output| Look::parse(&output)))
    }

    /// Creates the probe, for nodes of this look alone: a host that is passed over may make itself a node at any time, and would get a Pod
    /// that is never looked at.
    async fn create(&mut self, look: &Look) -> Result<(), Failure> {
        let script = include_str!("../scripts/verify_create.sh");
        let among: Vec<&str> = look.nodes.iter().flatten().map(|node| node.hostname()).collect();
        let manifest = Manifest {
            namespace: &self.namespace,
            image: kine_image(self.cluster),
            domain: &self.cluster.spec.kubernetes.dns_domain,
            apart: among.len() > 1,
            among,
        };
        let manifest = render(self.assets, "verify/probe.yaml.j2", &manifest)?;
        self.probe = match self.ask(script, Vec::new(), &manifest).await? {
            Ok(output) if output.status == 0 => Ok(Some(self.namespace.clone())),
            // A retry after half of it was created: the rest exists by now.
            Ok(output) if self.probe.is_err() && only_exists(&output) => Ok(Some(self.namespace.clone())),
            Ok(output) => Err(last_line(&output)),
            Err(reason) => Err(reason),
        };
        Ok(())
    }

    /// What the client printed so far; empty where there is none.
    async fn said(&self) -> Result<String, Failure> {
        let Ok(Some(namespace)) = &self.probe else { return Ok(String::new()) };
        let answer = self.ask(include_str!("../scripts/verify_logs.sh"), vec![namespace.clone()], "").await?;
        Ok(answer.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).into_owned()))
    }

    fn note_leftovers(&mut self, look: &Look) {
        let over = look.pods.iter().flatten().filter(|pod| {
            pod.metadata.labels.contains_key("etcdless.dev/verify") && pod.status.reason == "DeadlineExceeded"
        });
        self.leftovers = over.map(|pod| pod.metadata.namespace.clone()).collect();
        self.leftovers.dedup();
    }

    /// Removes the probe, whether or not it was created whole, and what an interrupted run left.
    async fn clean(&mut self) -> Result<(), Failure> {
        let mut namespaces = std::mem::take(&mut self.leftovers);
        if !matches!(self.probe, Ok(None)) {
            namespaces.push(self.namespace.clone());
        }
        if !namespaces.is_empty() {
            // A namespace that stays is harmless: its Pods end by themselves, and the next run removes it.
            drop(self.ask(include_str!("../scripts/verify_delete.sh"), namespaces, "").await?);
        }
        Ok(())
    }

    /// The answer, or why there is none although the host is there.
    async fn ask(
        &self,
        script: &'static str,
        args: Vec<String>,
        input: &str,
    ) -> Result<Result<Output, String>, Failure> {
        let question = Question { script, args, input: input.into(), deadline: ANSWER };
        match self.host.ask(question).await {
            Ok(output) => Ok(Ok(output)),
            Err(error) if is_answer(&error) => Ok(Err(error.to_string())),
            Err(error) => Err(gone(&error)),
        }
    }
}

/// Errors that say something about the cluster rather than about the way to the host.
fn is_answer(error: &RemoteError) -> bool {
    matches!(error, RemoteError::Failed { .. } | RemoteError::TimedOut { .. } | RemoteError::Garbled { .. })
}

fn gone(error: &RemoteError) -> Failure {
    Failure::new(Kind::Connection, format!("the cluster could not be verified: {error}"))
        .hint("`etcdless verify` checks again")
}

fn only_exists(output: &Output) -> bool {
    let stderr = String::from_utf8_lossy(&output.stderr);
    !stderr.is_empty() && stderr.lines().all(|line| line.contains("(AlreadyExists)"))
}

fn last_line(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    stderr.lines().last().unwrap_or("kubectl printed nothing").to_owned()
}

/// Eight letters that no other run has; the standard library seeds its hashers at random.
fn nonce() -> String {
    let random = std::hash::RandomState::new().build_hasher().finish();
    format!("{:08x}", random & 0xffff_ffff)
}
