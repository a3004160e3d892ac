//! Where an API server keeps its state, changed in what kubeadm left of a cluster: the Pod's manifest, and the ClusterConfiguration that
//! `kubeadm upgrade` makes the next one from. Pure; kubeadm itself writes the same of the one from the other.

use std::collections::HashMap;

use serde_yaml::{Mapping, Value};

use super::kine;
use crate::config::{Cluster, Listen};

/// The volume of kine's sockets; the same in the template of kubeadm's document.
const VOLUME: &str = "etcdless-kine";

/// The first of the volumes that kubeadm makes for certificates of an external etcd.
const CERTIFICATES: &str = "etcd-certs-0";

/// What a sidecar's patch annotates the API server's Pod with.
const REVISION: &str = "etcdless.dev/endpoint-revision";

/// Where kubeadm's own etcd keeps its data.
pub const ETCD_DATA: &str = "/var/lib/etcd";

/// The flag by which resources have stores of their own.
const OVERRIDES: &str = "etcd-servers-overrides";

/// What an API server is told of where its state is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    servers: String,
    overrides: Option<String>,
    /// CA, certificate and key of the client.
    files: Option<[String; 3]>,
    /// What its Pod mounts for it besides kubeadm's own folders.
    folder: Option<Folder>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Folder {
    volume: &'static str,
    path: &'static str,
    read_only: bool,
}

impl Backend {
    /// The kines of a cluster.
    pub fn kine(cluster: &Cluster) -> Self {
        let (files, folder) = match cluster.spec.kine.listen {
            Listen::Unix => (None, Folder { volume: VOLUME, path: kine::SOCKETS, read_only: false }),
            Listen::Tcp => {
                let files = ["ca.crt", "client.crt", "client.key"].map(|name| format!("{}/{name}", kine::PKI));
                (Some(files), Folder { volume: CERTIFICATES, path: kine::PKI, read_only: true })
            }
        };
        Self { servers: kine::main_url(cluster), overrides: kine::overrides(cluster), files, folder: Some(folder) }
    }

    /// The etcd that kubeadm makes on every control plane.
    pub fn stacked_etcd() -> Self {
        let files = ["etcd/ca.crt", "apiserver-etcd-client.crt", "apiserver-etcd-client.key"];
        Self {
            servers: "https://127.0.0.1:2379".into(),
            overrides: None,
            files: Some(files.map(|name| format!("/etc/kubernetes/pki/{name}"))),
            folder: None,
        }
    }

    fn is_kine(&self) -> bool {
        self.folder.is_some()
    }

    /// The API server's flags but for [`OVERRIDES`], in kubeadm's order.
    fn flags(&self) -> Vec<(&'static str, &str)> {
        let files =
            self.files.iter().flat_map(|files| ["etcd-cafile", "etcd-certfile", "etcd-keyfile"].into_iter().zip(files));
        let files = files.map(|(name, value)| (name, value.as_str()));
        files.chain([("etcd-servers", self.servers.as_str())]).collect()
    }
}

/// The API server's manifest with another backend. Nothing else is changed but comments, which are lost. The error is why that cannot be.
pub fn manifest(text: &str, backend: &Backend) -> Result<String, String> {
    let mut pod = read(text)?;
    let spec = pod.get_mut("spec").ok_or("it is no Pod")?;
    without_sidecar(spec);
    let containers = spec.get_mut("containers").and_then(Value::as_sequence_mut).ok_or("it is no Pod")?;
    let container = containers.iter_mut().find(|container| servers(container).is_some());
    let container = container.ok_or("no container of it is told --etcd-servers")?;
    with_flags(container, backend)?;
    with_mount(list(container, "volumeMounts")?, backend);
    with_volume(list(spec, "volumes")?, backend);
    if let Some(annotations) = pod.get_mut("metadata").and_then(|metadata| metadata.get_mut("annotations"))
        && let Some(annotations) = annotations.as_mapping_mut()
    {
        annotations.shift_remove(REVISION);
    }
    write(text, &pod)
}

/// kubeadm's ClusterConfiguration with another backend.
pub fn configuration(before: &str, backend: &Backend) -> Result<String, String> {
    let mut document = read(before)?;
    let api = document.get("apiVersion").and_then(Value::as_str).unwrap_or_default().to_owned();
    if document.get("kind").and_then(Value::as_str) != Some("ClusterConfiguration") {
        return Err("it is no ClusterConfiguration".into());
    }
    let document_map = document.as_mapping_mut().ok_or("it is no mapping")?;
    let text = |text: &str| Value::from(text);
    let etcd = if backend.is_kine() {
        let mut external = Mapping::new();
        let [ca, cert, key] = backend.files.clone().unwrap_or_default();
        external.insert(text("caFile"), text(&ca));
        external.insert(text("certFile"), text(&cert));
        external.insert(text("endpoints"), Value::Sequence(vec![text(&backend.servers)]));
        external.insert(text("keyFile"), text(&key));
        ("external", external)
    } else {
        ("local", Mapping::from_iter([(text("dataDir"), text(ETCD_DATA))]))
    };
    put(document_map, "etcd", Value::Mapping(Mapping::from_iter([(text(etcd.0), Value::Mapping(etcd.1))])));
    if !document_map.get("apiServer").is_some_and(Value::is_mapping) {
        put(document_map, "apiServer", Value::Mapping(Mapping::new()));
    }
    let server =
        document_map.get_mut("apiServer").and_then(Value::as_mapping_mut).ok_or("its apiServer is no mapping")?;
    with_extra_volume(server, backend);
    let is_old = api.ends_with("/v1beta3");
    with_extra_argument(server, backend, is_old);
    write(before, &document)
}

fn read(text: &str) -> Result<Value, String> {
    serde_yaml::from_str(text).map_err(|error| error.to_string())
}

/// A changed document, its lines as they were where they are the same: kubeadm quotes otherwise than we do. One that is not laid out as
/// kubeadm does it is written anew.
fn write(before: &str, changed: &Value) -> Result<String, String> {
    let plain = |value: &Value| serde_yaml::to_string(value).map_err(|error| error.to_string());
    let anew = plain(&read(before)?)?;
    let is_laid_out_so = anew.lines().count() == before.lines().count();
    let kept: HashMap<&str, &str> = anew.lines().zip(before.lines()).filter(|_| is_laid_out_so).collect();
    Ok(plain(changed)?.lines().map(|line| format!("{}\n", kept.get(line).unwrap_or(&line))).collect())
}

fn name(value: &Value) -> &str {
    value.get("name").and_then(Value::as_str).unwrap_or_default()
}

/// Sets a field, in kubeadm's order where it is new.
fn put(mapping: &mut Mapping, field: &str, value: Value) {
    if let Some(old) = mapping.get_mut(field) {
        *old = value;
        return;
    }
    let mut entries: Vec<(Value, Value)> = std::mem::take(mapping).into_iter().collect();
    let after = |(key, _): &(Value, Value)| key.as_str().is_some_and(|key| key > field);
    let at = entries.iter().position(after).unwrap_or(entries.len());
    entries.insert(at, (Value::from(field), value));
    mapping.extend(entries);
}

/// Adds an element, in kubeadm's order: by name.
fn add(list: &mut Vec<Value>, element: Value) {
    let at = list.iter().position(|other| name(other) > name(&element)).unwrap_or(list.len());
    list.insert(at, element);
}

/// A list of a mapping, made where there is none.
fn list<'a>(value: &'a mut Value, field: &str) -> Result<&'a mut Vec<Value>, String> {
    let wrong = || format!("its {field} is no list");
    let mapping = value.as_mapping_mut().ok_or_else(wrong)?;
    if mapping.get(field).is_none_or(Value::is_null) {
        put(mapping, field, Value::Sequence(Vec::new()));
    }
    mapping.get_mut(field).and_then(Value::as_sequence_mut).ok_or_else(wrong)
}

/// The list of words in which a container is told its store, and where.
fn servers(container: &Value) -> Option<(&'static str, usize)> {
    ["command", "args"].into_iter().find_map(|field| {
        let words = container.get(field)?.as_sequence()?;
        let is_flag = |word: &Value| word.as_str().is_some_and(|word| word.starts_with("--etcd-servers="));
        Some((field, words.iter().position(is_flag)?))
    })
}

fn with_flags(container: &mut Value, backend: &Backend) -> Result<(), String> {
    let of_etcd = |word: &Value| {
        let flag = word.as_str().and_then(|word| word.strip_prefix("--")).and_then(|word| word.split('=').next());
        flag.is_some_and(|flag| {
            ["etcd-cafile", "etcd-certfile", "etcd-keyfile", "etcd-servers", OVERRIDES].contains(&flag)
        })
    };
    let (field, _) = servers(container).ok_or("it is not told --etcd-servers")?;
    let words = list(container, field)?;
    let prefix = words.iter().filter_map(Value::as_str).find_map(|word| word.strip_prefix("--etcd-prefix="));
    if let Some(prefix) = prefix.filter(|prefix| prefix.trim_matches('/') != "registry") {
        return Err(format!("its keys are below {prefix}, and not below /registry"));
    }
    // A flag and its value as two words would leave the value behind.
    if let Some(word) = words.iter().find(|word| of_etcd(word) && word.as_str().is_some_and(|word| !word.contains('=')))
    {
        return Err(format!("write {} and its value as one word, with = between", word.as_str().unwrap_or_default()));
    }
    let at = words.iter().position(of_etcd).unwrap_or(words.len());
    words.retain(|word| !of_etcd(word));
    let flags = backend.flags().into_iter().map(|(name, value)| Value::from(format!("--{name}={value}")));
    words.splice(at..at, flags);
    // kubeadm's own flags come before those that it is given.
    words.extend(backend.overrides.iter().map(|overrides| Value::from(format!("--{OVERRIDES}={overrides}"))));
    Ok(())
}

/// Whether a folder is one that an API server mounts for kine.
fn is_ours(path: Option<&Value>) -> bool {
    path.and_then(Value::as_str).is_some_and(|path| [kine::SOCKETS, kine::PKI].contains(&path.trim_end_matches('/')))
}

fn with_mount(mounts: &mut Vec<Value>, backend: &Backend) {
    mounts.retain(|mount| !is_ours(mount.get("mountPath")));
    if let Some(Folder { volume, path, read_only }) = &backend.folder {
        let mut mount = Mapping::from_iter([("mountPath".into(), (*path).into()), ("name".into(), (*volume).into())]);
        if *read_only {
            mount.insert("readOnly".into(), true.into());
        }
        add(mounts, Value::Mapping(mount));
    }
}

fn with_volume(volumes: &mut Vec<Value>, backend: &Backend) {
    volumes.retain(|volume| !is_ours(volume.get("hostPath").and_then(|path| path.get("path"))));
    if let Some(Folder { volume, path, .. }) = &backend.folder {
        let path = Mapping::from_iter([("path".into(), (*path).into()), ("type".into(), "DirectoryOrCreate".into())]);
        let volume = [("hostPath".into(), Value::Mapping(path)), ("name".into(), (*volume).into())];
        add(volumes, Value::Mapping(Mapping::from_iter(volume)));
    }
}

/// A Pod without kine's sidecars, and without the volumes that only they mount.
fn without_sidecar(spec: &mut Value) {
    let mounted = |containers: &[Value]| -> Vec<String> {
        let mounts = containers.iter().filter_map(|container| container.get("volumeMounts")?.as_sequence());
        mounts.flatten().map(|mount| name(mount).to_owned()).collect()
    };
    let Some(spec) = spec.as_mapping_mut() else { return };
    let Some(inits) = spec.get("initContainers").and_then(Value::as_sequence) else { return };
    let is_kine = |container: &Value| name(container) == "kine" || name(container).starts_with("kine-");
    let (kines, others): (Vec<Value>, Vec<Value>) = inits.iter().cloned().partition(is_kine);
    let mut kept = mounted(&others);
    kept.extend(spec.get("containers").and_then(Value::as_sequence).map(|all| mounted(all)).unwrap_or_default());
    let gone: Vec<String> = mounted(&kines).into_iter().filter(|volume| !kept.contains(volume)).collect();
    if let Some(volumes) = spec.get_mut("volumes").and_then(Value::as_sequence_mut) {
        volumes.retain(|volume| !gone.iter().any(|gone| gone == name(volume)));
    }
    if others.is_empty() {
        spec.shift_remove("initContainers");
    } else {
        put(spec, "initContainers", Value::Sequence(others));
    }
}

fn with_extra_volume(server: &mut Mapping, backend: &Backend) {
    let mut volumes = server.get("extraVolumes").and_then(Value::as_sequence).cloned().unwrap_or_default();
    volumes.retain(|volume| !is_ours(volume.get("hostPath")));
    // kubeadm mounts the certificates by itself.
    if let Some(Folder { volume, path, .. }) = backend.folder.as_ref().filter(|_| backend.files.is_none()) {
        let fields = [("hostPath", *path), ("mountPath", *path), ("name", *volume), ("pathType", "DirectoryOrCreate")];
        let fields = fields.map(|(field, value)| (Value::from(field), Value::from(value)));
        add(&mut volumes, Value::Mapping(Mapping::from_iter(fields)));
    }
    if volumes.is_empty() {
        server.shift_remove("extraVolumes");
    } else {
        put(server, "extraVolumes", Value::Sequence(volumes));
    }
}

/// `extraArgs` is a mapping in v1beta3 and a list since.
fn with_extra_argument(server: &mut Mapping, backend: &Backend, is_old: bool) {
    let overrides = backend.overrides.as_deref();
    let arguments = server.shift_remove("extraArgs");
    let arguments = if is_old {
        let mut arguments = arguments.and_then(|arguments| arguments.as_mapping().cloned()).unwrap_or_default();
        arguments.shift_remove(OVERRIDES);
        if let Some(overrides) = overrides {
            put(&mut arguments, OVERRIDES, overrides.into());
        }
        (!arguments.is_empty()).then_some(Value::Mapping(arguments))
    } else {
        let mut arguments = arguments.and_then(|arguments| arguments.as_sequence().cloned()).unwrap_or_default();
        arguments.retain(|argument| name(argument) != OVERRIDES);
        if let Some(overrides) = overrides {
            let argument = [("name".into(), OVERRIDES.into()), ("value".into(), overrides.into())];
            arguments.push(Value::Mapping(Mapping::from_iter(argument)));
        }
        (!arguments.is_empty()).then_some(Value::Sequence(arguments))
    };
    if let Some(arguments) = arguments {
        put(server, "extraArgs", arguments);
    }
}
