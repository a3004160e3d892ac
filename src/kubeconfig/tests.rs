#![expect(clippy::unwrap_used)]
use super::*;

const ADMIN: &str = "\
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: Q0EtREVNTw==
    server: https://api.demo.etcdless.internal:6443
  name: kubernetes
contexts:
- context:
    cluster: kubernetes
    user: kubernetes-admin
  name: kubernetes-admin@kubernetes
current-context: kubernetes-admin@kubernetes
kind: Config
preferences: {}
users:
- name: kubernetes-admin
  user:
    client-certificate-data: Q0VSVA==
    client-key-data: S0VZ
";

const OTHERS: &str = "\
apiVersion: v1
kind: Config
preferences:
  colors: true
current-context: work
clusters:
- name: work
  cluster:
    server: https://work.example.com
    proxy-url: socks5://localhost:1080
- name: 'yes'
  cluster:
    server: https://norway.example.com
contexts:
- name: work
  context:
    cluster: work
    user: 'on'
    namespace: '1_000'
users:
- name: 'on'
  user:
    token: '0123'
    exec:
      apiVersion: client.authentication.k8s.io/v1
      command: login
      env: null
      args: ['--level', '1e3', 'y', '~', '0x1F', '2024-01-01', '12:30:45', '.5', 'null', '#x', 'a: b', '']
x-extension:
  kept: [1, 2.5, false]
";

const SERVER: &str = "https://10.0.0.11:6443";

fn demo(existing: Option<&str>) -> Result<Merged, Failure> {
    merge(existing, ADMIN, "demo", SERVER, false)
}

#[test]
fn a_new_file_has_the_cluster_alone() {
    let merged = demo(None).unwrap();
    insta::assert_snapshot!(merged.text, @r##"
    apiVersion: v1
    kind: Config
    clusters:
    - name: demo
      cluster:
        certificate-authority-data: Q0EtREVNTw==
        server: https://10.0.0.11:6443
    contexts:
    - name: demo
      context:
        cluster: demo
        user: demo-admin
    users:
    - name: demo-admin
      user:
        client-certificate-data: Q0VSVA==
        client-key-data: S0VZ
    current-context: demo
    "##);
    assert_eq!((merged.changed, merged.context.as_str()), (true, "demo"));
    assert_eq!(demo(Some("\n")).unwrap().text, merged.text);
}

#[test]
fn others_stay_as_they_are_and_stay_text() {
    let merged = demo(Some(OTHERS)).unwrap();
    insta::assert_snapshot!(merged.text, @r##"
    apiVersion: v1
    kind: Config
    preferences:
      colors: true
    current-context: work
    clusters:
    - name: work
      cluster:
        server: https://work.example.com
        proxy-url: socks5://localhost:1080
    - name: "yes"
      cluster:
        server: https://norway.example.com
    - name: demo
      cluster:
        certificate-authority-data: Q0EtREVNTw==
        server: https://10.0.0.11:6443
    contexts:
    - name: work
      context:
        cluster: work
        user: "on"
        namespace: "1_000"
    - name: demo
      context:
        cluster: demo
        user: demo-admin
    users:
    - name: "on"
      user:
        token: "0123"
        exec:
          apiVersion: client.authentication.k8s.io/v1
          command: login
          env: null
          args:
          - --level
          - "1e3"
          - "y"
          - "~"
          - "0x1F"
          - "2024-01-01"
          - "12:30:45"
          - ".5"
          - "null"
          - "#x"
          - "a: b"
          - ""
    - name: demo-admin
      user:
        client-certificate-data: Q0VSVA==
        client-key-data: S0VZ
    x-extension:
      kept:
      - 1
      - 2.5
      - false
    "##);
    let (before, after) = (read(OTHERS, "").unwrap(), read(&merged.text, "").unwrap());
    assert_eq!(after["current-context"], "work");
    for list in ["clusters", "contexts", "users"] {
        let (before, after) = (before[list].as_sequence().unwrap(), after[list].as_sequence().unwrap());
        assert_eq!(after[..before.len()], before[..], "{list}");
        assert_eq!(after.len(), before.len() + 1, "{list}");
    }
    assert_eq!(after["x-extension"], before["x-extension"]);
}

#[test]
fn unquoted_values_mean_what_they_mean_to_go() {
    let config = read("a: yes\nb: 0123\nc: 1_000\nd: off\ne: '0123'\n", "").unwrap();
    assert_eq!(yaml::to_string(&config).unwrap(), "a: true\nb: 83\nc: 1000\nd: false\ne: \"0123\"\n");
}

#[test]
fn the_same_again_changes_nothing_and_keeps_the_text() {
    let first = demo(Some(OTHERS)).unwrap().text;
    let commented = format!("# mine\n{first}");
    let second = demo(Some(&commented)).unwrap();
    assert_eq!((second.changed, second.text), (false, commented));
}

#[test]
fn own_entries_are_replaced_when_server_or_ca_is_the_same() {
    let first = demo(Some(OTHERS)).unwrap().text;
    // A new cluster at the same server, and a moved server with the same CA.
    let rebuilt = ADMIN.replace("Q0EtREVNTw==", "TkVX").replace("Q0VSVA==", "TkVXMg==");
    let merged = merge(Some(&first), &rebuilt, "demo", SERVER, false).unwrap();
    assert!(merged.changed && merged.text.contains("TkVXMg==") && !merged.text.contains("Q0VSVA=="));
    let moved = merge(Some(&first), ADMIN, "demo", "https://203.0.113.7:6443", false).unwrap();
    assert!(moved.changed && !moved.text.contains(SERVER));
    assert_eq!(moved.text.matches("name: demo\n").count(), 2, "{}", moved.text);
}

#[test]
fn a_namespace_that_the_user_chose_stays() {
    let first =
        demo(None).unwrap().text.replace("    user: demo-admin\n", "    user: demo-admin\n    namespace: mine\n");
    let again = demo(Some(&first)).unwrap();
    assert!(!again.changed && again.text.contains("namespace: mine"));
}

#[test]
fn the_current_context_changes_when_asked() {
    let merged = merge(Some(OTHERS), ADMIN, "demo", SERVER, true).unwrap();
    assert_eq!(read(&merged.text, "").unwrap()["current-context"], "demo");
    let empty = OTHERS.replace("current-context: work", "current-context: ''");
    assert_eq!(read(&demo(Some(&empty)).unwrap().text, "").unwrap()["current-context"], "demo");
}

#[test]
fn entries_of_others_with_our_names_are_refused() {
    let cluster = "clusters: [{ name: demo, cluster: { server: 'https://else' } }]";
    let context = "contexts: [{ name: demo, context: { cluster: else, user: x } }]";
    let user = "users: [{ name: demo-admin, user: { token: s3cret } }]";
    for (existing, message) in [
        (cluster, "the kubeconfig has another cluster `demo` already (https://else)"),
        (context, "the kubeconfig has another context `demo` already"),
        (user, "the kubeconfig has another user `demo-admin` already"),
    ] {
        let failure = demo(Some(existing)).unwrap_err();
        assert_eq!((failure.kind, failure.message.as_str()), (Kind::Config, message));
        assert!(failure.hints[0].contains("--context"), "{:?}", failure.hints);
    }
}

#[test]
fn a_name_of_another_cluster_is_refused_before_one_is_built() {
    let existing = "clusters: [{ name: demo, cluster: { server: 'https://10.0.0.1:6443' } }]";
    check_free(existing, "demo", "https://10.0.0.1:6443").unwrap();
    check_free(existing, "other", "https://10.0.0.2:6443").unwrap();
    let failure = check_free(existing, "demo", "https://10.0.0.2:6443").unwrap_err();
    assert_eq!(failure.message, "the kubeconfig has another cluster `demo` already (https://10.0.0.1:6443)");
}

#[test]
fn broken_files_are_named_without_their_keys() {
    for (existing, message) in [
        ("token: \"s3cret\nx", "the kubeconfig is not YAML: "),
        ("- s3cret", "the kubeconfig is not a kubeconfig"),
        ("clusters: s3cret", "`clusters` of the kubeconfig is not a list"),
    ] {
        let failure = demo(Some(existing)).unwrap_err();
        assert!(failure.message.starts_with(message), "{}", failure.message);
        assert!(!format!("{failure:?}").contains("s3cret"), "{failure:?}");
    }
    let failure = merge(None, "users: []", "demo", SERVER, false).unwrap_err();
    assert_eq!(failure.message, "kubeadm's admin.conf has no `cluster` in `clusters`");
    assert!(!format!("{:?}", demo(None).unwrap()).contains("S0VZ"));
}

#[test]
fn the_first_file_of_the_list_is_ours() {
    assert_eq!(first_path(OsStr::new(":/a/b:/c")), Some("/a/b".into()));
    assert_eq!(first_path(OsStr::new("")), None);
}

#[test]
fn files_are_private_and_links_stay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/config");
    write(&path, "one").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    write(&link, "two").unwrap();
    assert_eq!(load(&path).unwrap().as_deref(), Some("two"));
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file stays");
    assert_eq!(load(&folder.path().join("none")).unwrap(), None);
    assert!(write(&folder.path().join("deep/config/x"), "x").unwrap_err().message.starts_with("cannot write "));
}

#[test]
fn a_tunnel_leads_elsewhere_and_verifies_the_same_name() {
    let text = tunnelled(ADMIN, "demo", "https://127.0.0.1:40001", "api.demo.etcdless.internal").unwrap();
    let expected = "\
apiVersion: v1
kind: Config
current-context: demo
clusters:
- name: demo
  cluster:
    certificate-authority-data: Q0EtREVNTw==
    server: https://127.0.0.1:40001
    tls-server-name: api.demo.etcdless.internal
contexts:
- name: demo
  context: { cluster: demo, user: demo }
users:
- name: demo
  user: { client-certificate-data: Q0VSVA==, client-key-data: S0VZ }
";
    assert_eq!(
        read(secrecy::ExposeSecret::expose_secret(&text), "it").unwrap(),
        read(expected, "what is expected").unwrap()
    );
}
