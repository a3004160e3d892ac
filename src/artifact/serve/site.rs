//! Everything that is served, by its path: a path that is not in this table is nothing. Pure.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use hyper::header::HeaderValue;
use oci_client::Reference;

use crate::artifact::bundle::{Bundle, Document, File, Image, Packages};
use crate::artifact::checksum::file_name;
use crate::artifact::image::Blob;
use crate::artifact::packages::archive_name;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";

/// What a path stands for.
#[derive(Debug, Clone)]
pub(super) struct Resource {
    /// `Content-Type`.
    pub(super) media_type: HeaderValue,
    pub(super) content: Content,
}

/// Where the bytes of a resource are.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// Here.
    Text(String),
    /// In a bundle.
    Blob(Blob),
}

/// How much is served.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Holds {
    /// Files of releases.
    pub files: usize,
    /// References of images.
    pub images: usize,
    /// Archives of packages.
    pub archives: usize,
}

/// The table.
#[derive(Debug, Default)]
pub(super) struct Site {
    resources: BTreeMap<String, Resource>,
    pub(super) holds: Holds,
}

impl Site {
    /// What these bundles hold; where two have something under one name, the first one's.
    pub(super) fn of(bundles: &[Bundle]) -> Self {
        let mut site = Self::default();
        let manifests = || bundles.iter().map(|bundle| &bundle.manifest);
        let files: Vec<&File> = manifests().flat_map(|manifest| &manifest.files).collect();
        site.files(&files);
        let images: Vec<&Image> = manifests().flat_map(|manifest| &manifest.images).collect();
        site.images(&images);
        for set in manifests().flat_map(|manifest| &manifest.packages) {
            site.packages(set);
        }
        let about = site.about(&images);
        site.text("/", TEXT, about);
        site
    }

    /// What is at a path. `namespace` is the registry that a client means by a name without one, as containerd tells mirrors.
    pub(super) fn find(&self, path: &str, namespace: Option<&str>) -> Option<&Resource> {
        let spelled = || Some(format!("/v2/{}/{}", namespace?, path.strip_prefix("/v2/")?));
        self.resources.get(path).or_else(|| self.resources.get(&spelled()?))
    }

    /// Files under HOST/PATH of their publishers, and checksum files with a line for each of their files that is here.
    fn files(&mut self, files: &[&File]) {
        let mut sums: BTreeMap<String, String> = BTreeMap::new();
        for file in files {
            let path = mirror_path(&file.url);
            if self.blob(path, BYTES, &file.blob) {
                self.holds.files += 1;
                let line = format!("{}  {}\n", file.blob.hex(), file_name(&file.url));
                sums.entry(mirror_path(&file.checksum_url)).or_default().push_str(&line);
            }
        }
        for (path, lines) in sums {
            self.text(path, TEXT, lines);
        }
    }

    /// Images under HOST/NAME, as the routes of the OCI distribution specification have them.
    fn images(&mut self, images: &[&Image]) {
        let mut tags: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for image in images {
            let Ok(reference) = image.reference.parse::<Reference>() else { continue };
            let name = format!("{}/{}", reference.registry(), reference.repository());
            let listed = tags.entry(name.clone()).or_default();
            // A reference with a digest has no tag, but what it names is here under its digest.
            let tag = reference.tag().filter(|_| reference.digest().is_none());
            if let Some(tag) = tag
                && listed.insert(tag.into())
            {
                self.manifest(&name, tag, &image.root);
            }
            self.manifest(&name, &image.root.blob.digest, &image.root);
            for platform in &image.platforms {
                self.manifest(&name, &platform.manifest.blob.digest, &platform.manifest);
                for blob in &platform.blobs {
                    self.blob(format!("/v2/{name}/blobs/{}", blob.digest), BYTES, blob);
                }
            }
        }
        let names: Vec<&String> = tags.keys().collect();
        self.text("/v2/_catalog", JSON, serde_json::json!({ "repositories": names }).to_string());
        for (name, tags) in &tags {
            let list = serde_json::json!({ "name": name, "tags": tags });
            self.text(format!("/v2/{name}/tags/list"), JSON, list.to_string());
        }
        self.text("/v2/", JSON, "{}".into());
        self.text("/v2", JSON, "{}".into());
        self.holds.images = images.iter().map(|image| &image.reference).collect::<BTreeSet<_>>().len();
    }

    fn manifest(&mut self, name: &str, by: &str, document: &Document) {
        self.blob(format!("/v2/{name}/manifests/{by}"), &document.media_type, &document.blob);
    }

    /// A folder that apt takes for a repository.
    fn packages(&mut self, set: &Packages) {
        let folder = packages_path(set);
        if self.blob(format!("{folder}Packages"), TEXT, &set.index) {
            for package in &set.files {
                self.blob(format!("{folder}{}", archive_name(&package.blob)), BYTES, &package.blob);
            }
            self.holds.archives += set.files.len();
        }
    }

    /// What people read who open the address: every path but those of a registry, and what it is good for.
    fn about(&self, images: &[&Image]) -> String {
        let mut text = String::from("etcdless serves this:\n");
        let files = self.resources.keys().filter(|path| !path.starts_with("/v2") && !path.starts_with("/packages/"));
        text.extend(files.map(|path| format!("{path}\n")));
        let folders = self.resources.keys().filter(|path| path.starts_with("/packages/"));
        let packages = folders.filter_map(|path| path.strip_suffix("Packages"));
        text.extend(
            packages.map(|folder| format!("{folder}  (apt: deb [trusted=yes] http://ADDRESS:PORT{folder} ./)\n")),
        );
        let references: BTreeSet<&String> = images.iter().map(|image| &image.reference).collect();
        text.extend(references.into_iter().map(|reference| format!("image {reference}\n")));
        text
    }

    fn text(&mut self, path: impl Into<String>, media_type: &'static str, text: String) {
        self.resources.entry(path.into()).or_insert_with(|| Resource {
            media_type: HeaderValue::from_static(media_type),
            content: Content::Text(text),
        });
    }

    /// Whether it is new here.
    fn blob(&mut self, path: String, media_type: &str, blob: &Blob) -> bool {
        let Entry::Vacant(free) = self.resources.entry(path) else { return false };
        // A manifest's media type is what its publisher wrote.
        let media_type = HeaderValue::from_str(media_type).unwrap_or(HeaderValue::from_static(BYTES));
        free.insert(Resource { media_type, content: Content::Blob(blob.clone()) });
        true
    }
}

/// `https://dl.k8s.io/x` is at `/dl.k8s.io/x`.
fn mirror_path(url: &str) -> String {
    format!("/{}", url.split_once("://").map_or(url, |(_, path)| path))
}

fn packages_path(set: &Packages) -> String {
    format!("/packages/{}/{}/{}/", set.distribution, set.version, set.arch)
}
