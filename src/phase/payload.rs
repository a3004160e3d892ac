//! What this machine sends to a host for a step: a file, an image or packages, as a stream.

use std::collections::BTreeSet;
use std::time::Duration;

use super::runner;
use crate::artifact::bundle::Bundles;
use crate::artifact::{download, registry, supply::Supply};
use crate::failure::{Failure, Kind};
use crate::op::{Op, Release};
use crate::remote::{Payload, Query, Question};

/// How long a host may take to tell what it has.
const ASK: Duration = Duration::from_secs(120);

/// The stream of an operation whose bytes come from this machine; none for all others. Of what a bundle brings, only what `host` lacks is sent.
pub(super) async fn open(
    supply: &Supply,
    host: &impl Query,
    label: &str,
    arch: &str,
    op: &Op,
) -> Result<Option<Payload>, Failure> {
    Ok(Some(match (op, supply) {
        (Op::Fetch(fetch), Supply::Sources(_)) if fetch.push => download::open(fetch).await?.0,
        (Op::Fetch(fetch), Supply::Bundles(bundles)) if fetch.push => {
            bundles.open_file(&fetch.name, &fetch.version, arch).await?
        }
        (Op::Image(image), Supply::Sources(artifacts)) if image.push => {
            registry::open(artifacts, &image.reference, arch).await?.0
        }
        (Op::Image(image), Supply::Bundles(bundles)) if image.push => {
            let held = held(host, label).await?;
            bundles.open_image(&image.reference, arch, |blob| held.contains(&blob.digest))?
        }
        (Op::Package { names, bundled: Some(release), .. }, Supply::Bundles(bundles)) => {
            packages(bundles, host, label, release, names).await?
        }
        _ => return Ok(None),
    }))
}

/// The digests of the blobs that containerd keeps for Kubernetes.
async fn held(host: &impl Query, label: &str) -> Result<BTreeSet<String>, Failure> {
    let script = "ctr -n k8s.io content ls -q";
    lines(host, label, Question { script, args: Vec::new(), input: Vec::new(), deadline: ASK }).await
}

/// A repository with those archives that the host lacks to install these packages.
async fn packages(
    bundles: &Bundles,
    host: &impl Query,
    label: &str,
    release: &Release,
    names: &[String],
) -> Result<Payload, Failure> {
    const SCRIPT: &str =
        concat!(include_str!("../remote/scripts/repository.sh"), include_str!("../remote/scripts/wanted.sh"));
    let set = bundles.packages_of(release, names)?;
    let input = bundles.read(&set.index).await?;
    let wanted = lines(host, label, Question { script: SCRIPT, args: names.to_vec(), input, deadline: ASK }).await?;
    let digests = set.files.iter().map(|package| package.blob.hex());
    let wanted = digests.filter(|digest| wanted.iter().any(|line| line.contains(digest))).map(str::to_owned).collect();
    bundles.open_packages(set, &wanted).await
}

async fn lines(host: &impl Query, label: &str, question: Question) -> Result<BTreeSet<String>, Failure> {
    let unknown = |kind, why: String| Failure::new(kind, format!("{label} does not tell what it has already: {why}"));
    let answer = host.ask(question).await.map_err(|error| unknown(runner::kind(&error), error.to_string()))?;
    if answer.status != 0 {
        let text = String::from_utf8_lossy(&answer.stderr);
        let lines = text.lines().map(str::to_owned).collect();
        return Err(unknown(Kind::Step, format!("status {}", answer.status)).output(lines));
    }
    Ok(String::from_utf8_lossy(&answer.stdout).lines().map(str::to_owned).collect())
}
