//! cluster.yaml from the outside: files that are valid, files with one mistake each and what is said about them, the schema.
//!
//! `UPDATE_GOLDEN=1 cargo test --test config` writes the expected texts anew; read the difference before it is committed.

#![expect(clippy::unwrap_used, reason = "a test that panics is a test that fails")]

use std::fs;
use std::path::{Path, PathBuf};

use etcdless::config::load::{load, load_with, parse};
use etcdless::config::validate::Violation;
use etcdless::config::{Cluster, schema, yaml};
use etcdless::failure::{Failure, Kind};

fn files(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    assert!(!files.is_empty(), "{folder} has no files");
    files
}

fn valid() -> Vec<PathBuf> {
    [files("tests/config/valid"), files("docs/examples")].concat()
}

/// Compares with a committed text, or writes it.
fn golden(path: &Path, actual: &str) -> Option<String> {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(path, actual).unwrap();
        return None;
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    (expected != actual).then(|| format!("{}:\n--- expected\n{expected}--- actual\n{actual}", path.display()))
}

/// A failure as people see it, whole.
fn text(failure: &Failure) -> String {
    let mut text = format!("exit {}\n{}\n", failure.kind as u8, failure.message);
    failure.details.iter().for_each(|detail| text += &format!("\n{detail}\n"));
    failure.hints.iter().for_each(|hint| text += &format!("\nhint: {hint}\n"));
    text
}

#[test]
fn valid_files_load() {
    for path in valid() {
        load(&path).unwrap_or_else(|failure| panic!("{}", text(&failure)));
    }
}

#[test]
fn invalid_files_are_explained() {
    let differences: Vec<String> = files("tests/config/invalid")
        .iter()
        .filter_map(|path| {
            let failure = load(path).err().unwrap_or_else(|| panic!("{} loads", path.display()));
            assert_eq!(failure.kind, Kind::Config);
            let helpless = failure.details.iter().find(|detail| !detail.contains("= help: "));
            assert_eq!(helpless, None, "{} has no suggestion", path.display());
            golden(&path.with_extension("txt"), &text(&failure))
        })
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn every_expected_text_has_its_file() {
    for entry in fs::read_dir("tests/config/invalid").unwrap() {
        let path = entry.unwrap().path();
        assert!(path.with_extension("yaml").exists(), "{} is left over", path.display());
    }
}

#[test]
fn both_yaml_readers_understand_the_same() {
    for path in valid() {
        let text = fs::read_to_string(&path).unwrap();
        let ours = parse("cluster.yaml", &text).unwrap();
        // Through JSON, since that reader wants `!tag` for enums.
        let value: serde_json::Value = serde_yaml::from_str(&text).unwrap();
        let theirs: Cluster = serde_json::from_value(value).unwrap();
        assert_eq!(ours, theirs, "{}", path.display());
    }
}

#[test]
fn what_is_written_reads_back() {
    for path in valid() {
        let cluster = parse("cluster.yaml", &fs::read_to_string(&path).unwrap()).unwrap();
        let written = yaml::to_string(&cluster).unwrap();
        assert_eq!(parse("written", &written).unwrap(), cluster, "{written}");
        let value: serde_json::Value = serde_yaml::from_str(&written).unwrap();
        assert_eq!(serde_json::from_value::<Cluster>(value).unwrap(), cluster, "{written}");
    }
}

#[test]
fn the_committed_schema_is_current() {
    let difference = golden(Path::new("docs/cluster.schema.json"), &schema::schema());
    assert_eq!(difference, None);
}

#[test]
fn the_full_example_names_every_field() {
    let schema: serde_json::Value = serde_json::from_str(&schema::schema()).unwrap();
    let full = fs::read_to_string("docs/examples/full.yaml").unwrap();
    let definitions = schema["$defs"].as_object().unwrap().values();
    for name in
        definitions.filter_map(|definition| definition["properties"].as_object()).flat_map(|fields| fields.keys())
    {
        assert!(full.contains(&format!("{name}:")), "{name} is not in docs/examples/full.yaml");
    }
}

#[test]
fn defaults_are_written_out() {
    let cluster = load(Path::new("tests/config/valid/minimal.yaml")).unwrap();
    insta::assert_snapshot!(yaml::to_string(&cluster).unwrap(), @r##"
    apiVersion: etcdless.dev/v1alpha1
    kind: Cluster
    metadata:
      name: demo
    spec:
      kubernetes:
        version: v1.34.4
        podSubnet: 10.244.0.0/16
        serviceSubnet: 10.96.0.0/12
        dnsDomain: cluster.local
        swap: refuse
      kine:
        version: v0.16.4
        placement: staticPod
        listen: unix
        pool: 16
      datastore:
        sqlite: {}
      runtime:
        engine: containerd
        install: release
      network:
        flannel: {}
      artifacts:
        delivery: auto
      kubeadm: {}
      hosts:
      - address: "10.0.0.11"
        role: control-plane
    "##);
}

#[test]
fn rules_of_callers_take_part() {
    fn no_demo(cluster: &Cluster) -> Vec<Violation> {
        vec![Violation::new("metadata.name", format!("{} is taken", cluster.metadata.name)).suggest("take another")]
    }
    let failure = load_with(Path::new("tests/config/valid/minimal.yaml"), &[no_demo]).unwrap_err();
    insta::assert_snapshot!(text(&failure), @r##"
    exit 3
    tests/config/valid/minimal.yaml:4:9: demo is taken
    
    error: demo is taken
     --> tests/config/valid/minimal.yaml:4:9
      |
    4 |   name: demo
      |         ^^^^
      |
      = help: take another
    
    hint: `etcdless schema` prints every field with its type
    "##);
}

#[test]
fn relative_paths_are_relative_to_the_file() {
    let cluster = load(Path::new("tests/config/valid/files.yaml")).unwrap();
    let host = &cluster.spec.hosts[0];
    assert_eq!(host.ssh.identity.as_deref(), Some(Path::new("tests/config/valid/files.yaml")));
    let json = serde_json::to_value(&cluster.spec.network).unwrap();
    assert_eq!(json["manifest"], "tests/config/valid/minimal.yaml");
}

#[test]
fn files_that_are_no_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster.yaml");
    let message = |path: &Path| load(path).unwrap_err().message.replace(folder.path().to_str().unwrap(), "DIR");
    assert_eq!(message(&path), "there is no file DIR/cluster.yaml");
    assert_eq!(message(folder.path()), "DIR is a folder");
    fs::write(&path, b"a: 1\nb: caf\xe9\n").unwrap();
    assert_eq!(message(&path), "DIR/cluster.yaml:2:7: byte 0xE9 is not UTF-8");
    fs::write(&path, vec![b' '; (1 << 20) + 1]).unwrap();
    assert_eq!(message(&path), "DIR/cluster.yaml has 1048577 bytes; no cluster.yaml is larger than 1048576");
    for empty in ["", "# nothing\n", "---\n", "\u{feff}"] {
        fs::write(&path, empty).unwrap();
        assert_eq!(message(&path), "DIR/cluster.yaml is empty");
    }
}

#[test]
fn no_text_panics_and_alias_bombs_end() {
    let full = fs::read_to_string("docs/examples/full.yaml").unwrap();
    for end in (0..full.len()).step_by(7).filter(|end| full.is_char_boundary(*end)) {
        let _ = parse("cut", &full[..end]);
    }
    for (position, _) in full.match_indices([':', '-', '{', '"']) {
        let _ = parse("damaged", &format!("{}é\t{}", &full[..position], &full[position + 1..]));
    }
    let bomb = (1..30).fold("a0: &a0 [x, x]\n".to_owned(), |text, n| {
        format!("{text}a{n}: &a{n} [*a{0}, *a{0}, *a{0}, *a{0}]\n", n - 1)
    });
    assert_eq!(parse("bomb", &bomb).unwrap_err().kind, Kind::Config);
    assert_eq!(parse("deep", &"[".repeat(100_000)).unwrap_err().kind, Kind::Config);
}

#[test]
fn files_of_a_datastore_begin_at_the_folder_of_the_description() {
    let cluster = load(Path::new("docs/examples/mariadb.yaml")).unwrap();
    let etcdless::config::Datastore::Mariadb(etcdless::config::Server::External(external)) = cluster.spec.datastore
    else {
        panic!("another datastore");
    };
    assert_eq!(external.tls.ca.as_deref(), Some(Path::new("docs/examples/ca.pem")));
    assert_eq!(external.tls.key.as_deref(), Some(Path::new("docs/examples/client.key")));
}
