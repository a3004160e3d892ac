//! From flags to what clusters need: their descriptions, everything that follows from them, and the packages that a machine's apt names.

use std::collections::BTreeSet;

use crate::artifact::Item;
use crate::artifact::bundle::Gathered;
use crate::artifact::image::Architectures;
use crate::artifact::packages;
use crate::assets::Assets;
use crate::cli::Target;
use crate::cli::mirror::{Clusters, PackagesFrom, Sources};
use crate::commands::progress::Progress;
use crate::commands::session;
use crate::config::credentials::Credentials;
use crate::config::{Address, Artifacts, Cluster, Host as HostConfig, load, set};
use crate::facts::{Os, Probes};
use crate::failure::{Failure, Kind};
use crate::op::Release;
use crate::phase::needs::Needs;
use crate::phase::plan::Selection;
use crate::phase::survey::Desired;
use crate::remote::{Host, Query};
use crate::ui::Ui;

/// Every description that is meant, with the flags' changes.
pub(super) struct Wanted {
    descriptions: Vec<Desired>,
    architectures: Vec<String>,
    /// Where files and images come from.
    pub(super) artifacts: Artifacts,
}

impl Wanted {
    /// Reads the files. Secrets are neither needed nor read.
    pub(super) fn of(clusters: &Clusters) -> Result<Self, Failure> {
        let mut described = Vec::new();
        for path in &clusters.config {
            described.push(load::load_with(path, session::RULES)?);
        }
        if described.is_empty() {
            described.push(anywhere()?);
        }
        let versions = clusters.kubernetes_version.iter().map(|version| vec![format!("kubernetes.version={version}")]);
        let mut versions: Vec<Vec<String>> = versions.collect();
        if versions.is_empty() {
            versions.push(Vec::new());
        }
        let mut descriptions = Vec::new();
        for (cluster, version) in
            described.iter().flat_map(|cluster| versions.iter().map(move |version| (cluster, version)))
        {
            let cluster = set::set_with(cluster, &[version.as_slice(), &clusters.set].concat(), session::RULES)?;
            descriptions.push(desired(cluster, clusters)?);
        }
        let artifacts = descriptions.iter().map(|desired| desired.cluster.spec.artifacts.clone());
        let artifacts = artifacts.reduce(|first, _| first).unwrap_or_default();
        Ok(Self { descriptions, architectures: vec!["amd64".into()], artifacts })
    }

    /// The same from these sources, for these machines.
    pub(super) fn from(clusters: &Clusters, sources: &Sources) -> Result<Self, Failure> {
        Self::through(clusters, &sources.arch, sources.mirror.as_ref(), sources.registry.as_ref())
    }

    /// The same through a mirror and a registry, where they are given.
    pub(super) fn through(
        clusters: &Clusters,
        arch: &[String],
        mirror: Option<&String>,
        registry: Option<&String>,
    ) -> Result<Self, Failure> {
        if let Some(arch) = arch.iter().find(|arch| !["amd64", "arm64"].contains(&arch.as_str())) {
            let message = format!("`{arch}` is not an architecture that everything is released for");
            return Err(Failure::new(Kind::Usage, message).hint("--arch amd64, arm64 or amd64,arm64"));
        }
        let wanted = Self::of(clusters)?;
        let mirror = mirror.or(wanted.artifacts.mirror.as_ref()).cloned();
        let registry = registry.or(wanted.artifacts.registry.as_ref()).cloned();
        let artifacts = Artifacts { mirror, registry, ..wanted.artifacts };
        Ok(Self { architectures: arch.to_vec(), artifacts, ..wanted })
    }

    /// What all of them need on hosts of this distribution.
    pub(super) fn needs(&self, os: &Os) -> Result<Needs, Failure> {
        let mut needs = Needs::default();
        for desired in &self.descriptions {
            needs.add(desired, &self.architectures, os)?;
        }
        Ok(needs)
    }

    /// Asks the registry for the images alone.
    pub(super) async fn ask_images(&self, ui: &Ui) -> Result<Gathered, Failure> {
        let images = self.needs(&Os::expected())?.images;
        self.gather(ui, &BTreeSet::new(), &images).await
    }

    /// Asks the sources, and the machines that know packages. Changes nothing anywhere.
    pub(super) async fn ask(&self, ui: &Ui, from: &PackagesFrom) -> Result<(Gathered, Needs), Failure> {
        let needs = self.needs(&Os::expected())?;
        let mut gathered = self.gather(ui, &needs.files, &needs.images).await?;
        for host in &from.hosts {
            gathered.packages.push(self.packages(ui, from, host).await?);
        }
        Ok((gathered, needs))
    }

    async fn gather(
        &self,
        ui: &Ui,
        files: &BTreeSet<(Item, String)>,
        images: &BTreeSet<String>,
    ) -> Result<Gathered, Failure> {
        let title = format!("ask for {} files and {} images", files.len(), images.len());
        let progress = Progress::start(ui, "mirror", "mirror/ask", title);
        let architectures = Architectures::These(self.architectures.clone());
        progress.end(Gathered::ask(&self.artifacts, files, images, &architectures).await)
    }

    async fn packages(
        &self,
        ui: &Ui,
        from: &PackagesFrom,
        host: &str,
    ) -> Result<(Release, Vec<String>, Vec<packages::Archive>), Failure> {
        let (host, label, os, arch) = connect(ui, from, host).await?;
        let names: Vec<String> = self.needs(&os)?.packages.into_iter().collect();
        let release = Release { distribution: os.id, version: os.version, arch };
        let title = format!("ask for the packages of {release} that {} takes", names.join(", "));
        let progress = Progress::start(ui, &label, "mirror/packages", title);
        let archives = match names.is_empty() {
            true => Ok(Vec::new()),
            false => packages::ask(&host, &label, &names).await,
        };
        Ok((release, names, progress.end(archives)?))
    }
}

/// A machine that knows packages, with its distribution and architecture.
async fn connect(ui: &Ui, from: &PackagesFrom, text: &str) -> Result<(Host, String, Os, String), Failure> {
    let (user, address) = text.rsplit_once('@').map_or((None, text), |(user, address)| (Some(user), address));
    let address: Address = address.parse().map_err(|error| Failure::new(Kind::Usage, format!("{error}")))?;
    let mut config = HostConfig::at(address, user.map(str::to_owned));
    config.ssh.identity.clone_from(&from.login.identity);
    let target = Target::new(None, None, from.login.clone());
    let host = session::connect(ui, &target, &config).await?;
    let facts = host.facts(&Probes::default()).await.map_err(|error| session::unreachable(&error, &config))?;
    let label = config.label();
    let arch = facts.release_arch().ok_or_else(|| {
        Failure::new(Kind::Preflight, format!("{label} is a {}: its packages are of no use to hosts", facts.machine))
    })?;
    Ok((host, label, facts.os, arch.into()))
}

/// A cluster of etcdless's defaults.
fn anywhere() -> Result<Cluster, Failure> {
    let unlikely = |error: String| Failure::new(Kind::Internal, error);
    let name = "mirror".parse().map_err(|error| unlikely(format!("{error}")))?;
    let address: Address = "local".parse().map_err(|error| unlikely(format!("{error}")))?;
    Ok(Cluster::of(name, vec![HostConfig::at(address, None)]))
}

fn desired(cluster: Cluster, clusters: &Clusters) -> Result<Desired, Failure> {
    let (manifest, scripts) = (session::manifest(&cluster)?, session::scripts(&cluster)?);
    let credentials = Credentials::placeholders(&cluster);
    let assets = Assets::load(clusters.assets.as_deref())?;
    Ok(Desired {
        manifest,
        scripts,
        ..Desired::new(cluster, assets, credentials, Selection::default(), session::run_id())
    })
}

/// What people call a set of names: `haproxy, socat`; `none`.
pub(super) fn listed(names: &BTreeSet<String>) -> String {
    match names.is_empty() {
        true => "none".into(),
        false => names.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
    }
}
