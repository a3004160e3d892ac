//! Images as a registry stores them, written into its folder before it starts.

use std::collections::BTreeMap;
use std::path::PathBuf;

use etcdless::op::sha256;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::server::{Server, write};

/// What a cluster of this version needs.
pub(crate) const REFERENCES: [&str; 9] = [
    "docker.io/rancher/kine:v0.16.4",
    "registry.k8s.io/pause:3.10.1",
    "registry.k8s.io/kube-apiserver:v1.34.4",
    "registry.k8s.io/kube-controller-manager:v1.34.4",
    "registry.k8s.io/kube-scheduler:v1.34.4",
    "registry.k8s.io/kube-proxy:v1.34.4",
    "ghcr.io/flannel-io/flannel-cni-plugin:v1.8.0-flannel1",
    "ghcr.io/flannel-io/flannel:v0.28.4",
    "registry.k8s.io/coredns/coredns:v1.12.1",
];
pub(crate) const KINE: &str = REFERENCES[0];

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Digests without `sha256:`: those of the index by reference, those of the manifests by reference and architecture.
#[derive(Default)]
pub(crate) struct Seed {
    pub(crate) indexes: BTreeMap<&'static str, String>,
    pub(crate) manifests: BTreeMap<(&'static str, &'static str), String>,
    /// The layer that all amd64 images have.
    pub(crate) base: String,
}

/// Bytes that differ by seed.
pub(crate) fn noise(seed: &str, size: usize) -> Vec<u8> {
    let mut state = seed
        .bytes()
        .fold(0x9e37_79b9_7f4a_7c15_u64, |state, byte| (state ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
        | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size.min(64 << 10) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    while bytes.len() < size {
        bytes.extend_from_within(..bytes.len().min(size - bytes.len()));
    }
    bytes
}

/// A repository in a registry's folder.
pub(crate) struct Repository {
    storage: PathBuf,
    name: String,
}

impl Repository {
    fn link(&self, path: &str, digest: &str) {
        let folder = self.storage.join("repositories").join(&self.name);
        write(folder.join(path).join("link"), format!("sha256:{digest}"));
    }

    fn store(&self, content: &[u8]) -> String {
        let digest = sha256(content);
        let path = format!("blobs/sha256/{}/{digest}/data", &digest[..2]);
        let path = self.storage.join(path);
        if !path.exists() {
            write(path, content);
        }
        digest
    }

    pub(crate) fn blob(&self, media_type: &str, content: &[u8]) -> Value {
        let digest = self.store(content);
        self.link(&format!("_layers/sha256/{digest}"), &digest);
        json!({ "mediaType": media_type, "digest": format!("sha256:{digest}"), "size": content.len() })
    }

    fn document(&self, content: &Value) -> (String, Value) {
        // Not as etcdless would write it.
        let text = format!("{content:#}\n");
        let digest = self.store(text.as_bytes());
        self.link(&format!("_manifests/revisions/sha256/{digest}"), &digest);
        let descriptor =
            json!({ "mediaType": content["mediaType"], "digest": format!("sha256:{digest}"), "size": text.len() });
        (digest, descriptor)
    }

    /// An image of these layers.
    fn image(&self, arch: &str, layers: &[Vec<u8>]) -> (String, Value) {
        let config = json!({ "architecture": arch, "os": "linux", "config": { "User": self.name } }).to_string();
        let config = self.blob("application/vnd.oci.image.config.v1+json", config.as_bytes());
        let layers: Vec<Value> =
            layers.iter().map(|layer| self.blob("application/vnd.oci.image.layer.v1.tar+gzip", layer)).collect();
        self.document(&json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers }))
    }
}

/// A folder with all images, each with an index of two architectures and an attestation; kine's own layer has so many bytes.
pub(crate) fn seeded(large: usize) -> (TempDir, Seed) {
    let folder = tempfile::tempdir().unwrap();
    let base = noise("base", 400_000);
    let mut seed = Seed { base: sha256(&base), ..Seed::default() };
    for reference in REFERENCES {
        let (name, tag) = reference.rsplit_once(':').unwrap();
        let repository = Repository { storage: folder.path().join("storage/docker/registry/v2"), name: name.into() };
        let mut entries = vec![];
        for arch in ["arm64", "amd64"] {
            let size = if reference == KINE && arch == "amd64" { large } else { 50_000 };
            let mut layers =
                vec![noise(&format!("{reference} {arch}"), size), noise(&format!("{reference} {arch} 2"), 3000)];
            if arch == "amd64" {
                layers.push(base.clone());
            }
            let (digest, mut entry) = repository.image(arch, &layers);
            entry["platform"] = json!({ "architecture": arch, "os": "linux" });
            entries.push(entry);
            seed.manifests.insert((reference, arch), digest);
        }
        let (_, mut attestation) = repository.image("unknown", &[noise(&format!("{reference} attested"), 500)]);
        attestation["platform"] = json!({ "architecture": "unknown", "os": "unknown" });
        entries.push(attestation);
        let (digest, _) = repository.document(&json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries }));
        repository.link(&format!("_manifests/tags/{tag}/current"), &digest);
        repository.link(&format!("_manifests/tags/{tag}/index/sha256/{digest}"), &digest);
        seed.indexes.insert(reference, digest);
    }
    (folder, seed)
}

/// A registry with all images.
pub(crate) fn upstream() -> (Server, Seed) {
    let (folder, seed) = seeded(50_000);
    (Server::start(folder, "", ""), seed)
}
