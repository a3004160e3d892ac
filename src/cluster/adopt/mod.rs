//! A cluster that kubeadm made without etcdless: what it tells of itself, and the description that follows from that.

mod describe;
mod kubeadm;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::config::yaml;
use crate::datastore::explore::foreign;
use crate::failure::{Failure, Kind};
use crate::remote::{Query, Question, RemoteError};

pub use describe::{Adopted, Operator, describe};

const LOOK: &str = include_str!("look.sh");

/// How long the API server may take for all that it is asked.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a cluster tells of itself.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The addresses of the host that was asked.
    pub addresses: Vec<String>,
    /// ClusterConfiguration, of v1beta3 or v1beta4.
    pub cluster: Value,
    /// KubeletConfiguration.
    pub kubelet: Value,
    /// KubeProxyConfiguration; null where there is no kube-proxy.
    pub proxy: Value,
    /// Nodes.
    pub nodes: Vec<Value>,
    /// `NAMESPACE/NAME` of every DaemonSet.
    pub daemonsets: Vec<String>,
    /// The API server's Pod.
    pub manifest: Value,
}

/// Why a cluster is not seen.
#[derive(Debug)]
pub enum Error {
    /// The host could not be asked.
    Remote(RemoteError),
    /// It has no such cluster.
    Other(Failure),
}

/// Asks a control plane.
pub async fn look(host: &impl Query) -> Result<Seen, Error> {
    let args = vec![foreign::MANIFEST.to_owned()];
    let question = Question { script: LOOK, args, input: Vec::new(), deadline: PATIENCE };
    let output = host.ask(question).await.map_err(Error::Remote)?;
    if output.status != 0 {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let failure = Failure::new(Kind::Unhealthy, format!("the cluster does not tell of itself: {said}"));
        return Err(Error::Other(failure.hint("name a control plane whose API server answers, with kubectl on it")));
    }
    seen(&String::from_utf8_lossy(&output.stdout)).map_err(|why| {
        Error::Other(Failure::new(Kind::Unhealthy, format!("what the cluster tells cannot be read: {why}")))
    })
}

/// What the script printed.
pub fn seen(text: &str) -> Result<Seen, String> {
    let told: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once(' ')).collect();
    let json = |name: &str| match told.get(name) {
        Some(text) => serde_json::from_str::<Value>(text).map_err(|error| format!("{name}: {error}")),
        None => Ok(Value::Null),
    };
    let document = |name: &str, field: &str| match json(name)?["data"][field].as_str() {
        Some(text) => yaml::from_go::<Value>(text).map_err(|error| format!("{name}: {error}")),
        None => Ok(Value::Null),
    };
    let items = |list: Value| list["items"].as_array().cloned().unwrap_or_default();
    let cluster = document("kubeadm-config", "ClusterConfiguration")?;
    if cluster.is_null() {
        return Err("there is no ClusterConfiguration in kube-system/kubeadm-config: kubeadm did not make it".into());
    }
    let name = |set: &Value| {
        let field = |name: &str| set["metadata"][name].as_str().unwrap_or_default().to_owned();
        format!("{}/{}", field("namespace"), field("name"))
    };
    let manifest = told.get("manifest").copied().unwrap_or_default().replace('\u{c}', "\n");
    Ok(Seen {
        addresses: told
            .get("addresses")
            .map(|all| all.split_whitespace().map(str::to_owned).collect())
            .unwrap_or_default(),
        cluster,
        kubelet: document("kubelet-config", "kubelet")?,
        proxy: document("kube-proxy", "config.conf")?,
        nodes: items(json("nodes")?),
        daemonsets: items(json("daemonsets")?).iter().map(name).collect(),
        manifest: yaml::from_go(&manifest).map_err(|error| format!("{}: {error}", foreign::MANIFEST))?,
    })
}
