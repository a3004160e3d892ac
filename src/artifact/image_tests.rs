#![expect(clippy::unwrap_used)]
use serde_json::json;

use super::*;

#[test]
fn only_a_sha256_becomes_a_path() {
    let hex = "0".repeat(64);
    assert_eq!(
        Blob::new(&format!("sha256:{hex}"), 5).map(|blob| (blob.path(), blob.size)),
        Some((format!("blobs/sha256/{hex}"), 5))
    );
    for (digest, size) in [
        (format!("sha256:{hex}"), -1),
        (format!("sha256:{hex}"), 1 << 33),
        (format!("sha512:{hex}"), 5),
        (format!("sha256:{}", "A".repeat(64)), 5),
        ("sha256:../../../etc/passwd".into(), 5),
        (hex, 5),
    ] {
        assert_eq!(Blob::new(&digest, size), None, "{digest} {size}");
    }
}

fn digest(character: char) -> String {
    format!("sha256:{}", character.to_string().repeat(64))
}

fn index() -> Document {
    let entry = |character: char, os: &str, arch: &str| {
        json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest(character), "size": 7,
            "platform": { "architecture": arch, "os": os },
        })
    };
    let entries = [
        entry('d', "windows", "amd64"),
        entry('c', "linux", "s390x"),
        entry('b', "linux", "arm64"),
        entry('a', "linux", "amd64"),
        entry('e', "unknown", "unknown"),
    ];
    // Spaces that no serializer of ours would write.
    let text = format!("{:#}\n", json!({ "schemaVersion": 2, "mediaType": "x/index", "manifests": entries }));
    Document::new(text.into()).unwrap()
}

fn entries(document: &Document) -> Vec<ImageIndexEntry> {
    let content: Value = serde_json::from_slice(&document.text).unwrap();
    serde_json::from_value(content["manifests"].clone()).unwrap()
}

#[test]
fn an_index_is_narrowed_in_its_own_order() {
    let index = index();
    let all = entries(&index);
    for archs in [["amd64", "arm64"], ["arm64", "amd64"]] {
        let archs = archs.map(str::to_owned);
        let digests: Vec<String> = chosen(&all, &archs).unwrap().iter().map(|entry| entry.digest.clone()).collect();
        assert_eq!(digests, [digest('b'), digest('a')]);
        let narrowed = index.narrowed(&digests).unwrap();
        assert_eq!(narrowed.media_type, "x/index");
        // Whoever mirrors the same platforms twice must not make two images of them.
        assert_eq!(
            narrowed.blob,
            Blob { digest: format!("sha256:{}", crate::op::sha256(&narrowed.text)), size: narrowed.text.len() as u64 }
        );
        let [before, after] = [&index, &narrowed].map(|document| {
            let content: Value = serde_json::from_slice(&document.text).unwrap();
            content["manifests"].as_array().unwrap().clone()
        });
        assert_eq!(after, before[2..4], "entries keep everything that they say");
    }
}

#[test]
fn an_index_of_exactly_what_is_wanted_keeps_its_bytes() {
    let index = index();
    let digests: Vec<String> = entries(&index).iter().map(|entry| entry.digest.clone()).collect();
    assert_eq!(index.narrowed(&digests).unwrap(), index);
}

#[test]
fn what_an_index_lacks_is_told() {
    let all = entries(&index());
    assert_eq!(chosen(&all, &["amd64".into(), "riscv64".into()]).unwrap_err(), "riscv64");
    assert_eq!(platforms(&all), "windows/amd64, linux/s390x, linux/arm64, linux/amd64");
}

#[test]
fn documents_without_media_type_are_known_by_what_they_hold() {
    let media_type = |content: Value| Document::new(content.to_string().into()).unwrap().media_type;
    assert_eq!(media_type(json!({ "manifests": [] })), OCI_IMAGE_INDEX_MEDIA_TYPE);
    assert_eq!(media_type(json!({ "layers": [] })), OCI_IMAGE_MEDIA_TYPE);
    assert!(Document::new("<html>".into()).is_err());
}

fn manifest(layers: &[(&str, char)]) -> Document {
    let layer = |(media_type, character): &(&str, char)| json!({ "mediaType": media_type, "digest": digest(*character), "size": 1 });
    let layers: Vec<Value> = layers.iter().map(layer).collect();
    let config = json!({ "mediaType": "x/config", "digest": digest('f'), "size": 2 });
    Document::new(json!({ "schemaVersion": 2, "config": config, "layers": layers }).to_string().into()).unwrap()
}

fn platform(arch: &str, layers: &[(&str, char)]) -> Platform {
    let document = manifest(layers);
    let content = serde_json::from_slice(&document.text).unwrap();
    Platform::new(arch.into(), document, &content).unwrap()
}

#[test]
fn blobs_are_listed_once_and_the_root_comes_last() {
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    let amd64 = platform("amd64", &[("x/layer", 'a'), ("x/layer", 'b'), ("x/layer", 'a'), (foreign, 'c')]);
    let arm64 = platform("arm64", &[("x/layer", 'b'), ("x/layer", 'd')]);
    let digests = |blobs: Vec<&Blob>| blobs.iter().map(|blob| blob.digest.clone()).collect::<Vec<_>>();
    assert_eq!(digests(amd64.blobs.iter().collect()), ['f', 'a', 'b'].map(digest));

    let both = Image { reference: "x".into(), root: index(), platforms: vec![amd64.clone(), arm64.clone()] };
    assert_eq!(digests(both.blobs()), ['f', 'a', 'b', 'd'].map(digest));
    assert_eq!(both.documents(), [&amd64.manifest, &arm64.manifest, &both.root]);
    let one = Image { reference: "x".into(), root: amd64.manifest.clone(), platforms: vec![amd64.clone()] };
    assert_eq!(one.documents(), [&amd64.manifest]);
}
