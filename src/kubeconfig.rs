//! The user's kubeconfig with a cluster's entries in it: kubeadm's admin.conf under the cluster's own names, nothing else touched.

use std::ffi::OsStr;
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use serde_yaml::{Mapping, Value};

use crate::config::yaml;
use crate::failure::{Failure, Kind};

/// A kubeconfig with the cluster's entries. The text holds keys, so `Debug` does not print it.
pub struct Merged {
    /// The whole file.
    pub text: String,
    /// Whether it differs from what was there.
    pub changed: bool,
    /// The name of the cluster's context.
    pub context: String,
}

impl std::fmt::Debug for Merged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Merged").field("changed", &self.changed).field("context", &self.context).finish_non_exhaustive()
    }
}

/// Puts the cluster of kubeadm's `admin_conf` into a kubeconfig: cluster and context `cluster_name`, user `CLUSTER_NAME-admin`, API at `server`.
///
/// Entries of these names are replaced if they are this cluster's (same server or same CA); otherwise that is an error. The current context
/// changes only where none is set, or with `make_current`.
pub fn merge(
    existing: Option<&str>,
    admin_conf: &str,
    cluster_name: &str,
    server: &str,
    make_current: bool,
) -> Result<Merged, Failure> {
    let admin = read(admin_conf, "kubeadm's admin.conf")?;
    let mut cluster = only(&admin, "clusters", "cluster")?;
    cluster.insert("server".into(), server.into());
    let user = only(&admin, "users", "user")?;
    let user_name = format!("{cluster_name}-admin");
    let mut context = Mapping::new();
    context.insert("cluster".into(), cluster_name.into());
    context.insert("user".into(), user_name.as_str().into());

    let before = match existing.filter(|text| !text.trim().is_empty()) {
        Some(text) => read(text, "the kubeconfig")?,
        None => Mapping::new(),
    };
    check_ours(&before, cluster_name, &cluster, &user_name, &user)?;
    let mut after = before.clone();
    for (field, value) in [("apiVersion", "v1"), ("kind", "Config")] {
        after.entry(field.into()).or_insert_with(|| value.into());
    }
    put(&mut after, "clusters", cluster_name, "cluster", cluster)?;
    put(&mut after, "contexts", cluster_name, "context", context)?;
    put(&mut after, "users", &user_name, "user", user)?;
    let current = after.get("current-context").and_then(Value::as_str).unwrap_or_default();
    if make_current || current.is_empty() {
        after.insert("current-context".into(), cluster_name.into());
    }

    let changed = after != before;
    let text = match existing {
        Some(text) if !changed => text.to_owned(),
        _ => yaml::to_string(&after).map_err(|error| failure(format!("cannot write the kubeconfig: {error}")))?,
    };
    Ok(Merged { text, changed, context: cluster_name.to_owned() })
}

/// Refuses a name that the kubeconfig has for a cluster at another address than `server`, before a cluster of that name is built.
pub fn check_free(existing: &str, cluster_name: &str, server: &str) -> Result<(), Failure> {
    let before = read(existing, "the kubeconfig")?;
    let new = Mapping::from_iter([("server".into(), server.into())]);
    check_ours(&before, cluster_name, &new, &format!("{cluster_name}-admin"), &Mapping::new())
}

/// kubeadm's `admin_conf` for a client that reaches the API server at `server`, and is to find `name` in its certificate.
pub fn tunnelled(admin_conf: &str, cluster_name: &str, server: &str, name: &str) -> Result<SecretString, Failure> {
    let admin = read(admin_conf, "kubeadm's admin.conf")?;
    let mut cluster = only(&admin, "clusters", "cluster")?;
    cluster.insert("server".into(), server.into());
    cluster.insert("tls-server-name".into(), name.into());
    let user = only(&admin, "users", "user")?;
    let context = [("cluster", cluster_name), ("user", cluster_name)];
    let context = Mapping::from_iter(context.map(|(field, value)| (field.into(), value.into())));
    let mut config = Mapping::new();
    for (field, value) in [("apiVersion", "v1"), ("kind", "Config"), ("current-context", cluster_name)] {
        config.insert(field.into(), value.into());
    }
    put(&mut config, "clusters", cluster_name, "cluster", cluster)?;
    put(&mut config, "contexts", cluster_name, "context", context)?;
    put(&mut config, "users", cluster_name, "user", user)?;
    let text = yaml::to_string(&config).map_err(|error| failure(format!("cannot write a kubeconfig: {error}")))?;
    Ok(text.into())
}

fn failure(message: String) -> Failure {
    Failure::new(Kind::Config, message)
}

fn read(text: &str, what: &str) -> Result<Mapping, Failure> {
    let value: Value = yaml::from_go(text).map_err(|error| failure(format!("{what} is not YAML: {error}")))?;
    match value {
        Value::Mapping(fields) => Ok(fields),
        Value::Null => Ok(Mapping::new()),
        _ => Err(failure(format!("{what} is not a kubeconfig"))),
    }
}

/// The one entry of a list of admin.conf.
fn only(admin: &Mapping, list: &str, field: &str) -> Result<Mapping, Failure> {
    let entry = admin.get(list).and_then(|entries| entries.get(0)).and_then(|entry| entry.get(field));
    entry
        .and_then(Value::as_mapping)
        .cloned()
        .ok_or_else(|| failure(format!("kubeadm's admin.conf has no `{field}` in `{list}`")))
}

/// The content of a named entry.
fn find<'a>(config: &'a Mapping, list: &str, name: &str, field: &str) -> Option<&'a Value> {
    let entries = config.get(list)?.as_sequence()?;
    entries.iter().find(|entry| entry.get("name").is_some_and(|value| value == name))?.get(field)
}

/// Refuses to replace entries that belong to something else.
fn check_ours(before: &Mapping, name: &str, cluster: &Mapping, user_name: &str, user: &Mapping) -> Result<(), Failure> {
    let same =
        |old: &Value, new: &Mapping, field: &str| old.get(field).is_some_and(|value| new.get(field) == Some(value));
    let other =
        |message: String| Err(failure(message).hint("choose another name with `etcdless kubeconfig --context NAME`"));
    let old_cluster = find(before, "clusters", name, "cluster");
    if let Some(old) = old_cluster
        && !same(old, cluster, "server")
        && !same(old, cluster, "certificate-authority-data")
    {
        let server = old.get("server").and_then(Value::as_str).unwrap_or("no server");
        return other(format!("the kubeconfig has another cluster `{name}` already ({server})"));
    }
    if let Some(old) = find(before, "contexts", name, "context")
        && (old.get("cluster").is_none_or(|cluster| cluster != name)
            || old.get("user").is_none_or(|user| user != user_name))
    {
        return other(format!("the kubeconfig has another context `{name}` already"));
    }
    if let Some(old) = find(before, "users", user_name, "user")
        && old_cluster.is_none()
        && !same(old, user, "client-certificate-data")
    {
        return other(format!("the kubeconfig has another user `{user_name}` already"));
    }
    Ok(())
}

/// Replaces the content of a named entry, or adds one; fields of the entry beside its content stay.
fn put(config: &mut Mapping, list: &str, name: &str, field: &str, content: Mapping) -> Result<(), Failure> {
    let entries = config.entry(list.into()).or_insert(Value::Null);
    if entries.is_null() {
        *entries = Value::Sequence(Vec::new());
    }
    let entries =
        entries.as_sequence_mut().ok_or_else(|| failure(format!("`{list}` of the kubeconfig is not a list")))?;
    let index = entries.iter().position(|entry| entry.get("name").is_some_and(|value| value == name));
    let content = match index.and_then(|index| entries.get(index)).and_then(|entry| entry.get(field)) {
        // A namespace that the user chose for the context stays.
        Some(Value::Mapping(old)) if field == "context" => {
            old.iter().chain(&content).map(|(key, value)| (key.clone(), value.clone())).collect()
        }
        _ => content,
    };
    match index.and_then(|index| entries.get_mut(index)).and_then(Value::as_mapping_mut) {
        Some(entry) => {
            entry.insert(field.into(), content.into());
        }
        None => {
            let mut entry = Mapping::new();
            entry.insert("name".into(), name.into());
            entry.insert(field.into(), content.into());
            entries.push(entry.into());
        }
    }
    Ok(())
}

/// Where kubectl looks: the first file of `$KUBECONFIG`, or `~/.kube/config`.
pub fn path() -> Result<PathBuf, Failure> {
    let listed = std::env::var_os("KUBECONFIG");
    if let Some(first) = listed.as_deref().and_then(first_path) {
        return Ok(first);
    }
    let home = etcetera::home_dir().map_err(|_| {
        Failure::new(Kind::Usage, "there is no home folder to keep a kubeconfig in").hint("set KUBECONFIG to a file")
    })?;
    Ok(home.join(".kube/config"))
}

fn first_path(list: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(list).find(|path| !path.as_os_str().is_empty())
}

/// The kubeconfig at `path`; `None` where there is none.
pub fn load(path: &Path) -> Result<Option<String>, Failure> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failure(format!("cannot read {}: {error}", path.display()))),
    }
}

/// Writes a kubeconfig at once, readable by its owner alone. A link stays a link; folders that are missing are made.
pub fn write(path: &Path, text: &str) -> Result<(), Failure> {
    // The rename below would replace a link, not the file behind it.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    replace(&target, text).map_err(|error| failure(format!("cannot write {}: {error}", path.display())))
}

fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut file = tempfile::Builder::new().prefix(".kubeconfig-").tempfile_in(folder)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests;
