//! From versions to files and images: everything that etcdless brings to a host, by its publisher's own address.

use super::releases::{FLANNEL, FLANNEL_CNI, Support, nearest};
use serde::Deserialize;

use super::{Catalogue, Item};
use crate::config::{Cluster, Install, Network, Placement, Role};

/// Everything that a node of this architecture (`amd64`, `arm64`) and role needs.
///
/// A Kubernetes version that is not supported gets what goes with the nearest; `cluster::versions::check_pair` refuses it before that matters.
pub fn catalogue(cluster: &Cluster, arch: &str, role: Role) -> Catalogue {
    let support = nearest(&cluster.spec.kubernetes.version);
    Catalogue { files: files(cluster, &support, arch, role), images: images(cluster, &support, role) }
}

fn files(cluster: &Cluster, support: &Support, arch: &str, role: Role) -> Vec<Item> {
    let spec = &cluster.spec;
    let mut files: Vec<Item> = ["kubeadm", "kubelet", "kubectl"]
        .map(|name| {
            let version = spec.kubernetes.version.to_string();
            let url = format!("https://dl.k8s.io/release/{version}/bin/linux/{arch}/{name}");
            Item { name: name.into(), checksum_url: format!("{url}.sha256"), url, version }
        })
        .into();
    let cni = format!("cni-plugins-linux-{arch}-{}.tgz", support.cni);
    files.push(on_github("cni-plugins", "containernetworking/plugins", support.cni, &cni, &format!("{cni}.sha256")));
    if spec.runtime.install == Install::Release {
        let bare = support.containerd.trim_start_matches('v');
        let tar = format!("containerd-{bare}-linux-{arch}.tar.gz");
        let sum = format!("{tar}.sha256sum");
        files.push(on_github("containerd", "containerd/containerd", support.containerd, &tar, &sum));
        let runc = format!("runc.{arch}");
        files.push(on_github("runc", "opencontainers/runc", support.runc, &runc, "runc.sha256sum"));
    }
    // Elsewhere kine comes as an image.
    if spec.kine.placement == Placement::Systemd && role.is_control_plane() {
        let version = spec.kine.version.to_string();
        let (program, sums) = (format!("kine-{arch}"), format!("sha256sum-{arch}.txt"));
        files.push(on_github("kine", "k3s-io/kine", &version, &program, &sums));
    }
    files
}

fn on_github(name: &str, repository: &str, version: &str, file: &str, checksums: &str) -> Item {
    let release = format!("https://github.com/{repository}/releases/download/{version}");
    Item {
        name: name.into(),
        version: version.into(),
        url: format!("{release}/{file}"),
        checksum_url: format!("{release}/{checksums}"),
    }
}

/// In the order in which they are needed. kine's is always there: it carries a shell, and `verify` runs its probe Pod from it.
fn images(cluster: &Cluster, support: &Support, role: Role) -> Vec<String> {
    let kubernetes = cluster.spec.kubernetes.version.to_string();
    let own = |program: &str| image(cluster, &format!("registry.k8s.io/{program}"), &kubernetes);
    let mut images = vec![kine_image(cluster), pause_image(cluster)];
    if role.is_control_plane() {
        images.extend(["kube-apiserver", "kube-controller-manager", "kube-scheduler"].map(own));
    }
    images.push(own("kube-proxy"));
    if matches!(cluster.spec.network, Network::Flannel(_)) {
        images.extend([flannel_cni_image(cluster), flannel_image(cluster)]);
    }
    images.push(image(cluster, "registry.k8s.io/coredns/coredns", support.coredns));
    images
}

/// The images that the Pods of a manifest run, as containerd names them, each once.
pub fn images_of(manifest: &str) -> Vec<String> {
    let mut images = Vec::new();
    for document in serde_yaml::Deserializer::from_str(manifest) {
        // What is not YAML, kubectl refuses with the line; there is no next document after it.
        let Ok(document) = serde_json::Value::deserialize(document) else { break };
        collect(&document, &mut images);
    }
    images.sort();
    images.dedup();
    images
}

/// Containers are where a Pod's template has them, however deep that is.
fn collect(value: &serde_json::Value, images: &mut Vec<String>) {
    match value {
        serde_json::Value::Array(items) => items.iter().for_each(|item| collect(item, images)),
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                let containers = value.as_array().filter(|_| matches!(name.as_str(), "containers" | "initContainers"));
                let named = containers.into_iter().flatten().filter_map(|container| container["image"].as_str());
                // Short names are spelled out: `busybox` is docker.io/library/busybox:latest.
                images.extend(named.filter_map(|name| Some(name.parse::<oci_client::Reference>().ok()?.whole())));
                collect(value, images);
            }
        }
        _ => {}
    }
}

/// kine's image, which has a shell.
pub fn kine_image(cluster: &Cluster) -> String {
    image(cluster, "docker.io/rancher/kine", &cluster.spec.kine.version.to_string())
}

/// What every Pod's first process comes from.
pub fn pause_image(cluster: &Cluster) -> String {
    image(cluster, "registry.k8s.io/pause", nearest(&cluster.spec.kubernetes.version).pause)
}

/// flannel's image.
pub fn flannel_image(cluster: &Cluster) -> String {
    image(cluster, "ghcr.io/flannel-io/flannel", FLANNEL)
}

/// The image of flannel's CNI plugin.
pub fn flannel_cni_image(cluster: &Cluster) -> String {
    image(cluster, "ghcr.io/flannel-io/flannel-cni-plugin", FLANNEL_CNI)
}

/// The reference of an image: its publisher's own, or the last part of its name in the one repository that the description names, which is
/// also kubeadm's rule.
fn image(cluster: &Cluster, publisher: &str, tag: &str) -> String {
    match &cluster.spec.kubernetes.image_repository {
        None => format!("{publisher}:{tag}"),
        Some(repository) => format!("{repository}/{}:{tag}", publisher.rsplit('/').next().unwrap_or(publisher)),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used)]
    use super::*;

    fn listed(spec: serde_json::Value, arch: &str) -> String {
        let mut document = serde_json::json!({
            "apiVersion": "etcdless.dev/v1alpha1", "kind": "Cluster", "metadata": { "name": "demo" }, "spec": spec,
        });
        document["spec"]["hosts"] = serde_json::json!([{ "address": "10.0.0.11" }]);
        let cluster: Cluster = serde_json::from_value(document).unwrap();
        let Catalogue { files, images } = catalogue(&cluster, arch, Role::ControlPlane);
        let file = |item: &Item| format!("{} {}\n  {}\n  {}", item.name, item.version, item.url, item.checksum_url);
        files.iter().map(file).chain(images).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_default_cluster_on_amd64() {
        let spec = serde_json::json!({ "kubernetes": { "version": "v1.34.4" }, "kine": { "version": "v0.16.4" } });
        insta::assert_snapshot!(listed(spec, "amd64"), @r"
        kubeadm v1.34.4
          https://dl.k8s.io/release/v1.34.4/bin/linux/amd64/kubeadm
          https://dl.k8s.io/release/v1.34.4/bin/linux/amd64/kubeadm.sha256
        kubelet v1.34.4
          https://dl.k8s.io/release/v1.34.4/bin/linux/amd64/kubelet
          https://dl.k8s.io/release/v1.34.4/bin/linux/amd64/kubelet.sha256
        kubectl v1.34.4
          https://dl.k8s.io/release/v1.34.4/bin/linux/amd64/kubectl
          https://dl.k8s.io/release/v1.34.4/bin/linux/amd64/kubectl.sha256
        cni-plugins v1.8.0
          https://github.com/containernetworking/plugins/releases/download/v1.8.0/cni-plugins-linux-amd64-v1.8.0.tgz
          https://github.com/containernetworking/plugins/releases/download/v1.8.0/cni-plugins-linux-amd64-v1.8.0.tgz.sha256
        containerd v2.2.0
          https://github.com/containerd/containerd/releases/download/v2.2.0/containerd-2.2.0-linux-amd64.tar.gz
          https://github.com/containerd/containerd/releases/download/v2.2.0/containerd-2.2.0-linux-amd64.tar.gz.sha256sum
        runc v1.3.3
          https://github.com/opencontainers/runc/releases/download/v1.3.3/runc.amd64
          https://github.com/opencontainers/runc/releases/download/v1.3.3/runc.sha256sum
        docker.io/rancher/kine:v0.16.4
        registry.k8s.io/pause:3.10.1
        registry.k8s.io/kube-apiserver:v1.34.4
        registry.k8s.io/kube-controller-manager:v1.34.4
        registry.k8s.io/kube-scheduler:v1.34.4
        registry.k8s.io/kube-proxy:v1.34.4
        ghcr.io/flannel-io/flannel-cni-plugin:v1.8.0-flannel1
        ghcr.io/flannel-io/flannel:v0.28.4
        registry.k8s.io/coredns/coredns:v1.12.1
        ");
    }

    #[test]
    fn images_of_a_manifest_are_those_of_its_pods() {
        let manifest = "\
kind: DaemonSet
spec:
  template:
    spec:
      initContainers: [{ name: a, image: quay.io/x/cni:v1 }]
      containers: [{ name: b, image: busybox }, { name: c, image: quay.io/x/cni:v1 }]
---
kind: CustomResourceDefinition
spec: { image: not-an-image-of-a-pod }
---
";
        assert_eq!(images_of(manifest), ["docker.io/library/busybox:latest", "quay.io/x/cni:v1"]);
        assert_eq!(images_of("{ no yaml").len(), 0);
    }

    #[test]
    fn a_flat_repository_has_every_image_under_the_last_part_of_its_name() {
        let spec = serde_json::json!({
            "kubernetes": { "version": "v1.34.4", "imageRepository": "img.example.com:5000/system" }, "kine": { "version": "v0.16.4" },
        });
        let listed = listed(spec, "amd64");
        let images: Vec<&str> = listed.lines().filter(|line| line.starts_with("img.")).collect();
        insta::assert_snapshot!(images.join("\n"), @r"
        img.example.com:5000/system/kine:v0.16.4
        img.example.com:5000/system/pause:3.10.1
        img.example.com:5000/system/kube-apiserver:v1.34.4
        img.example.com:5000/system/kube-controller-manager:v1.34.4
        img.example.com:5000/system/kube-scheduler:v1.34.4
        img.example.com:5000/system/kube-proxy:v1.34.4
        img.example.com:5000/system/flannel-cni-plugin:v1.8.0-flannel1
        img.example.com:5000/system/flannel:v0.28.4
        img.example.com:5000/system/coredns:v1.12.1
        ");
        for publisher in ["registry.k8s.io", "docker.io", "ghcr.io"] {
            assert!(!listed.contains(publisher), "{listed}");
        }
    }

    #[test]
    fn everything_that_can_differ_on_arm64() {
        let spec = serde_json::json!({
            "kubernetes": { "version": "1.30.5" }, "kine": { "version": "v0.17.1", "placement": "systemd" },
            "runtime": { "install": "packages" }, "network": { "none": {} },
        });
        insta::assert_snapshot!(listed(spec, "arm64"), @r"
        kubeadm v1.30.5
          https://dl.k8s.io/release/v1.30.5/bin/linux/arm64/kubeadm
          https://dl.k8s.io/release/v1.30.5/bin/linux/arm64/kubeadm.sha256
        kubelet v1.30.5
          https://dl.k8s.io/release/v1.30.5/bin/linux/arm64/kubelet
          https://dl.k8s.io/release/v1.30.5/bin/linux/arm64/kubelet.sha256
        kubectl v1.30.5
          https://dl.k8s.io/release/v1.30.5/bin/linux/arm64/kubectl
          https://dl.k8s.io/release/v1.30.5/bin/linux/arm64/kubectl.sha256
        cni-plugins v1.8.0
          https://github.com/containernetworking/plugins/releases/download/v1.8.0/cni-plugins-linux-arm64-v1.8.0.tgz
          https://github.com/containernetworking/plugins/releases/download/v1.8.0/cni-plugins-linux-arm64-v1.8.0.tgz.sha256
        kine v0.17.1
          https://github.com/k3s-io/kine/releases/download/v0.17.1/kine-arm64
          https://github.com/k3s-io/kine/releases/download/v0.17.1/sha256sum-arm64.txt
        docker.io/rancher/kine:v0.17.1
        registry.k8s.io/pause:3.9
        registry.k8s.io/kube-apiserver:v1.30.5
        registry.k8s.io/kube-controller-manager:v1.30.5
        registry.k8s.io/kube-scheduler:v1.30.5
        registry.k8s.io/kube-proxy:v1.30.5
        registry.k8s.io/coredns/coredns:v1.11.3
        ");
    }
}
