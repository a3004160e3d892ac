//! The Pod network: flannel's manifest, or one of the user's.

use ipnet::IpNet;
use serde::Serialize;

use crate::artifact::catalogue::{flannel_cni_image, flannel_image};
use crate::assets::Assets;
use crate::config::{Cluster, Network};
use crate::failure::{Failure, Kind};
use crate::render::render;

/// Where the manifest belongs, so that `kubectl apply` on the control plane reads what a person can read too.
pub const MANIFEST: &str = "/etc/etcdless/network.yaml";

/// The CNI configuration appears whole, and only once flanneld has written what the plugin reads: before that, containerd would call
/// the node ready, the first Pods would fail, and the kubelet would wait many seconds until it tries them again.
const WAIT_AND_INSTALL: &str = "until [ -s /run/flannel/subnet.env ]; do sleep 0.1; done; \
     cp /etc/kube-flannel/cni-conf.json /etc/cni/net.d/.10-flannel.conflist.new && \
     mv -f /etc/cni/net.d/.10-flannel.conflist.new /etc/cni/net.d/10-flannel.conflist";

/// The manifest to apply, or `None` where the user installs a network. `own` is the text of the file that `network.manifest` names,
/// read beforehand.
pub fn manifest(cluster: &Cluster, own: Option<&str>, assets: &Assets) -> Result<Option<String>, Failure> {
    match &cluster.spec.network {
        Network::Flannel(_) => flannel(cluster, assets).map(Some),
        Network::None(_) => Ok(None),
        Network::Manifest(path) => match own {
            Some(text) => Ok(Some(text.to_owned())),
            None => {
                let message = format!("the manifest {} of spec.network was not read", path.display());
                Err(Failure::new(Kind::Internal, message))
            }
        },
    }
}

#[derive(Serialize)]
struct Flannel {
    image: String,
    cni_image: String,
    pod_subnet: String,
    ipv6: bool,
    api_name: String,
    api_port: String,
    wait_and_install: &'static str,
}

fn flannel(cluster: &Cluster, assets: &Assets) -> Result<String, Failure> {
    let subnet = cluster.spec.kubernetes.pod_subnet;
    let api = cluster.api();
    let values = Flannel {
        image: flannel_image(cluster),
        cni_image: flannel_cni_image(cluster),
        pod_subnet: subnet.to_string(),
        ipv6: matches!(subnet, IpNet::V6(_)),
        api_name: api.host,
        api_port: api.port.to_string(),
        wait_and_install: WAIT_AND_INSTALL,
    };
    render(assets, "flannel/kube-flannel.yaml.j2", &values)
}
