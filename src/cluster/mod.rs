//! What Kubernetes wants: kubeadm's documents, the kine process, versions that go together, the Pod network.

pub mod kine;
pub mod kubeadm;
pub mod migration;
pub mod network;
pub mod node;
pub mod versions;
