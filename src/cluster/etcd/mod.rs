//! kubeadm's own etcd on control planes that had none, filled before anybody uses it.
//!
//! A temporary etcd takes the rows, with revisions above all that the cluster has seen ([`begin`], then `datastore::copy::etcd`); its store
//! becomes the data of every member ([`end`], [`carry`], [`restore`]); then the members start from kubeadm's manifests ([`manifest`]), and take
//! what changed meanwhile while no API server runs. So API servers stand still for what changed, however much there is.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::kubeadm::CRI_SOCKET;
use super::migration::ETCD_DATA;
use crate::cluster::kine::probe::Endpoint;
use crate::config::yaml;
use crate::failure::{Failure, Kind};
use crate::remote::{Output, Query, Question, RemoteError};

/// The folder of the temporary etcd, of root alone.
pub const FOLDER: &str = "/var/lib/etcdless/etcd";

/// Where the kubelet finds kubeadm's etcd.
pub const MANIFEST: &str = "/etc/kubernetes/manifests/etcd.yaml";

/// Where kubeadm keeps etcd's certificates.
pub const PKI: &str = "/etc/kubernetes/pki/etcd";

/// The authority of etcd's certificates, which all control planes share: the certificate, the key.
pub const AUTHORITY: [&str; 2] = ["/etc/kubernetes/pki/etcd/ca.crt", "/etc/kubernetes/pki/etcd/ca.key"];

/// What the container is called.
const NAME: &str = "etcdless-etcd";

/// MiB that go from host to host at once.
const PART: u64 = 32;

/// A control plane, as a member of etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The node's name.
    pub name: String,
    /// The address that the other members reach it by.
    pub address: IpAddr,
}

impl Member {
    /// Where it is reached by the other members.
    fn peer(&self) -> String {
        match self.address {
            IpAddr::V4(address) => format!("https://{address}:2380"),
            IpAddr::V6(address) => format!("https://[{address}]:2380"),
        }
    }
}

/// Why a host did not do it.
#[derive(Debug)]
pub enum Error {
    /// The host could not be asked.
    Remote(RemoteError),
    /// What was asked of it failed.
    Failed(Failure),
}

impl From<RemoteError> for Error {
    fn from(error: RemoteError) -> Self {
        Self::Remote(error)
    }
}

/// How an API server, and a probe on its host, reaches the member there.
pub fn endpoint() -> Endpoint {
    let pki = |name: &str| format!("/etc/kubernetes/pki/{name}");
    Endpoint::Tcp {
        url: "https://127.0.0.1:2379".into(),
        ca: pki("etcd/ca.crt"),
        cert: pki("apiserver-etcd-client.crt"),
        key: pki("apiserver-etcd-client.key"),
    }
}

/// Starts the temporary etcd, empty, of an image that is on the host. Its revisions begin with this one, and all older ones count as compacted:
/// name one far above all that the cluster has seen until it is moved, so that whoever watches lists again.
pub async fn begin(host: &impl Query, image: &str, revision: u64) -> Result<Endpoint, Error> {
    let revision = revision.to_string();
    let args = [image, FOLDER, NAME, &revision];
    run(host, "start a temporary etcd", include_str!("scripts/begin.sh"), &args, Vec::new(), 120).await?;
    Ok(Endpoint::Unix { socket: format!("{FOLDER}/etcd.sock") })
}

/// Ends the temporary etcd; its store stays as a file of so many bytes.
pub async fn end(host: &impl Query) -> Result<u64, Error> {
    let args = [FOLDER, NAME];
    let output = run(host, "end the temporary etcd", include_str!("scripts/end.sh"), &args, Vec::new(), 90).await?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    text.parse().map_err(|_| failed("end the temporary etcd", &text))
}

/// Takes the temporary etcd away, with all that it holds.
pub async fn discard(host: &impl Query) -> Result<(), Error> {
    run(host, "take the temporary etcd away", include_str!("scripts/discard.sh"), &[FOLDER, NAME], Vec::new(), 60)
        .await?;
    Ok(())
}

/// Copies the store's file, of so many bytes, to another control plane.
pub async fn carry(from: &impl Query, to: &impl Query, size: u64) -> Result<(), Error> {
    let (file, each) = (format!("{FOLDER}/store.db"), PART.to_string());
    for part in 0..size.div_ceil(PART << 20) {
        let part = part.to_string();
        let args = [file.as_str(), &part, &each];
        let title = "copy etcd's store";
        let output = run(from, title, include_str!("scripts/part.sh"), &args, Vec::new(), 120).await?;
        run(to, title, include_str!("scripts/put.sh"), &args, output.stdout, 120).await?;
    }
    Ok(())
}

/// Makes the data of a member from the store's file, where kubeadm's etcd looks for them.
pub async fn restore(host: &impl Query, image: &str, member: &Member, members: &[Member]) -> Result<(), Error> {
    let (all, peer) = (initial_cluster(members), member.peer());
    let args = [image, FOLDER, &member.name, &peer, &all, ETCD_DATA];
    run(host, "make the data of an etcd member", include_str!("scripts/restore.sh"), &args, Vec::new(), 600).await?;
    Ok(())
}

/// Makes the certificates of kubeadm's etcd, with the authority where this is the `first` control plane.
pub async fn certificates(host: &impl Query, config: &str, first: bool) -> Result<(), Error> {
    let args = [if first { "first" } else { "other" }];
    let input = config.as_bytes().to_vec();
    run(host, "make etcd's certificates", include_str!("scripts/certificates.sh"), &args, input, 120).await?;
    Ok(())
}

/// The manifest of a member, as kubeadm makes it, with all members in it. Nothing is placed.
pub async fn manifest(host: &impl Query, config: &str, members: &[Member]) -> Result<String, Error> {
    let title = "render etcd's manifest";
    let input = config.as_bytes().to_vec();
    let output = run(host, title, include_str!("scripts/manifest.sh"), &[], input, 60).await?;
    let text = String::from_utf8_lossy(&output.stdout);
    with_members(&text, members).ok_or_else(|| failed(title, "kubeadm rendered no --initial-cluster"))
}

/// kubeadm's configuration for [`certificates`] and [`manifest`] on a control plane, from a ClusterConfiguration with an etcd of its own.
pub fn config(cluster_configuration: &str, member: &Member) -> Result<String, Failure> {
    let unreadable = |error: String| Failure::new(Kind::Internal, format!("kubeadm's configuration: {error}"));
    let cluster: Value = yaml::from_go(cluster_configuration).map_err(unreadable)?;
    let init = json!({
        "apiVersion": cluster["apiVersion"],
        "kind": "InitConfiguration",
        "localAPIEndpoint": { "advertiseAddress": member.address },
        "nodeRegistration": { "name": member.name, "criSocket": CRI_SOCKET },
    });
    let init = yaml::to_string(&init).map_err(unreadable)?;
    Ok(format!("{init}---\n{cluster_configuration}"))
}

fn initial_cluster(members: &[Member]) -> String {
    members.iter().map(|member| format!("{}={}", member.name, member.peer())).collect::<Vec<_>>().join(",")
}

/// A manifest of the only member, as one of all: what kubeadm writes when a control plane joins.
fn with_members(manifest: &str, members: &[Member]) -> Option<String> {
    const FLAG: &str = "- --initial-cluster=";
    let line = manifest.lines().find(|line| line.trim_start().starts_with(FLAG))?;
    let indent = &line[..line.len() - line.trim_start().len()];
    let joined = format!("{indent}{FLAG}{}", initial_cluster(members));
    let lines = match members.len() {
        0 | 1 => joined,
        _ => format!("{joined}\n{indent}- --initial-cluster-state=existing"),
    };
    Some(manifest.replacen(line, &lines, 1))
}

async fn run(
    host: &impl Query,
    what: &str,
    script: &'static str,
    args: &[&str],
    input: Vec<u8>,
    seconds: u64,
) -> Result<Output, Error> {
    let args = args.iter().map(ToString::to_string).collect();
    let output = host.ask(Question { script, args, input, deadline: Duration::from_secs(seconds) }).await?;
    if output.status != 0 {
        return Err(failed(what, String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(output)
}

fn failed(what: &str, why: &str) -> Error {
    Error::Failed(Failure::new(Kind::Step, format!("cannot {what}: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members() -> [Member; 2] {
        let member = |name: &str, address: IpAddr| Member { name: name.into(), address };
        [member("cp1", [10, 0, 0, 11].into()), member("cp2", IpAddr::V6(std::net::Ipv6Addr::LOCALHOST))]
    }

    #[test]
    fn a_manifest_names_all_members() {
        let alone = "    - etcd\n    - --initial-cluster=cp1=https://10.0.0.11:2380\n    - --name=cp1\n";
        assert_eq!(with_members(alone, &members()[..1]).as_deref(), Some(alone));
        let both = "    - etcd\n    - --initial-cluster=cp1=https://10.0.0.11:2380,cp2=https://[::1]:2380\n    \
                    - --initial-cluster-state=existing\n    - --name=cp1\n";
        assert_eq!(with_members(alone, &members()).as_deref(), Some(both));
        assert_eq!(with_members("- etcd\n", &members()), None);
    }

    #[test]
    fn the_configuration_is_of_one_version() {
        let text = config("apiVersion: kubeadm.k8s.io/v1beta3\nkind: ClusterConfiguration\n", &members()[0]);
        let text = text.unwrap_or_default();
        assert!(text.starts_with("apiVersion: kubeadm.k8s.io/v1beta3\nkind: InitConfiguration\n"), "{text}");
        assert!(text.ends_with("---\napiVersion: kubeadm.k8s.io/v1beta3\nkind: ClusterConfiguration\n"), "{text}");
    }
}
