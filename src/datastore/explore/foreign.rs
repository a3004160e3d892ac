//! The stores of a cluster that etcdless did not build: what its API server is told of them.

use serde_json::Value;

use super::{Place, Route, folders};
use crate::cluster::kine::probe::Endpoint;
use crate::config::{MAIN, yaml};

/// Where kubeadm keeps the API server's manifest.
pub const MANIFEST: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";

/// The stores that a manifest names, the main one first. The error is why there are none.
pub fn places(manifest: &str) -> Result<Vec<Place>, String> {
    let pod: Value = yaml::from_go(manifest)?;
    let containers = pod["spec"]["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let words = containers.iter().flat_map(|container| ["command", "args"].map(|field| &container[field]));
    let words: Vec<&str> = words.filter_map(Value::as_array).flatten().filter_map(Value::as_str).collect();
    let flag = |name: &str| words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    let file = |name: &str| flag(name).unwrap_or_default().to_owned();
    // Servers of one etcd have the same in them; the first is the nearest, as kubeadm writes it.
    let endpoint = |servers: &str| {
        let url = servers.split([',', ';']).next().unwrap_or_default();
        match url.strip_prefix("unix://") {
            Some(socket) => Endpoint::Unix { socket: socket.to_owned() },
            None => Endpoint::Tcp {
                url: url.trim_end_matches('/').to_owned(),
                ca: file("--etcd-cafile"),
                cert: file("--etcd-certfile"),
                key: file("--etcd-keyfile"),
            },
        }
    };
    let place = |shard: &str, resources: &[String], servers: &str| {
        let endpoint = endpoint(servers);
        // kine listens on sockets; etcd has them for its peers' sake only.
        let engine = if matches!(endpoint, Endpoint::Unix { .. }) { "kine" } else { "etcd" };
        Place { shard: shard.to_owned(), folders: folders(resources), route: Route::Api(engine, endpoint) }
    };
    let main = flag("--etcd-servers").ok_or("it names no --etcd-servers")?;
    let mut places = vec![place(MAIN, &[], main)];
    for one in flag("--etcd-servers-overrides").unwrap_or_default().split(',').filter(|one| !one.is_empty()) {
        let (resource, servers) = one.split_once('#').ok_or_else(|| format!("its override `{one}` has no #"))?;
        places.push(place(resource.trim_start_matches('/'), &[resource.to_owned()], servers));
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used)]
    use super::*;
    use crate::datastore::explore::place_of;

    const MANIFEST: &str = "spec:\n  containers:\n  - command:\n    - kube-apiserver\n    - --etcd-cafile=/pki/ca.crt\n    \
                            - --etcd-certfile=/pki/c.crt\n    - --etcd-keyfile=/pki/c.key\n    - --etcd-servers=https://127.0.0.1:2379,https://10.0.0.2:2379\n";

    #[test]
    fn a_manifest_names_the_stores() {
        let overrides = "    - --etcd-servers-overrides=/events#https://127.0.0.1:4379;https://b:4379,coordination.k8s.io/leases#unix:///run/l.sock\n";
        let places = places(&format!("{MANIFEST}{overrides}")).unwrap();
        let tcp = |url: &str| Endpoint::Tcp {
            url: url.into(),
            ca: "/pki/ca.crt".into(),
            cert: "/pki/c.crt".into(),
            key: "/pki/c.key".into(),
        };
        let of = |key: &str| match &place_of(&places, key).unwrap().route {
            Route::Api(engine, endpoint) => (*engine, endpoint.clone()),
            other => panic!("{other:?}"),
        };
        assert_eq!(of("/registry/pods/default/web"), ("etcd", tcp("https://127.0.0.1:2379")));
        assert_eq!(of("/registry/events/default/a"), ("etcd", tcp("https://127.0.0.1:4379")));
        assert_eq!(of("/registry/leases/a/b"), ("kine", Endpoint::Unix { socket: "/run/l.sock".into() }));
    }

    #[test]
    fn a_manifest_without_a_store_says_so() {
        let error = places("spec:\n  containers:\n  - command: [kube-apiserver]\n").unwrap_err();
        assert_eq!(error, "it names no --etcd-servers");
    }
}
