//! Who is let in, and what is said to who is not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::http;
use crate::images::{KINE, REFERENCES, upstream};
use crate::server::{Server, etcdless, installed, push, pushing, ran, write};

/// Lets in `me` with the password `right`, by bcrypt.
const HTPASSWD: &str = "me:$2b$04$2SAWOzhpKhcMGtJHJwEE7uoakLU5C488qF7dCSwRFFwa.UJYnxsMy\n";

fn guarded() -> Server {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("htpasswd");
    fs::write(&file, HTPASSWD).unwrap();
    let auth = format!("auth:\n  htpasswd: {{ realm: here, path: {} }}\n", file.display());
    Server::start(folder, "", &auth)
}

/// A file of logins, for base64 of `USER:PASSWORD`.
fn logins(host: &str, encoded: &str) -> String {
    format!(r#"{{ "auths": {{ "{host}": {{ "auth": "{encoded}" }} }} }}"#)
}

#[test]
fn a_registry_with_a_login() {
    if !installed() {
        return;
    }
    let ((source, _), target) = (upstream(), guarded());
    let (host, url) = (target.address.as_str(), format!("http://{}", target.address));
    let command = |home: &Path, more: &[&str]| etcdless(home, &pushing(&source.address, &url, more));
    let hint = format!("`docker login {host}` logs in");

    let home = tempfile::tempdir().unwrap();
    ran(command(home.path(), &[])).failed(4, &["asks for a login", &hint]);

    // me:wrong-secret
    let file = home.path().join(".docker/config.json");
    write(file.clone(), logins(host, "bWU6d3Jvbmctc2VjcmV0"));
    let refused = ran(command(home.path(), &["-v"]));
    assert!(!format!("{refused:?}").contains("wrong-secret"), "{refused:?}");
    let state = fs::read_dir(home.path().join(".local/state/etcdless/logs")).unwrap();
    for log in state {
        assert!(!fs::read_to_string(log.unwrap().path()).unwrap().contains("wrong-secret"));
    }
    let said = format!("refuses the login of me from {} (HTTP 401)", file.display());
    refused.failed(4, &[&format!("image {KINE} cannot be pushed to {host}: "), &said, &hint]);
    assert!(!source.requests(0).iter().any(|request| request.contains("/blobs/")), "nothing was fetched");

    write(file.clone(), "{");
    ran(command(home.path(), &[]))
        .failed(4, &["asks for a login, and the one in ", "cannot be used: Unable to read config"]);

    // me:right
    let encoded = "bWU6cmlnaHQ=";
    write(file, logins(host, encoded));
    assert!(ran(command(home.path(), &[])).ok().contains("28 blobs moved"));

    let other = tempfile::tempdir().unwrap();
    write(other.path().join("auth.json"), logins(host, encoded));
    let mut again = command(other.path(), &[]);
    assert!(
        ran({
            again.env("REGISTRY_AUTH_FILE", other.path().join("auth.json"));
            again
        })
        .ok()
        .contains("0 blobs moved")
    );

    let helper = other.path().join("bin/docker-credential-test");
    write(
        helper.clone(),
        format!(
            "#!/bin/sh\nread -r host\n[ \"$host\" = {host} ] || {{ echo credentials not found in native keychain; exit 1; }}\necho '{{ \"Username\": \"me\", \"Secret\": \"right\" }}'\n"
        ),
    );
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    write(other.path().join("docker/config.json"), r#"{ "credsStore": "test" }"#);
    let mut by_helper = command(other.path(), &[]);
    let path = format!("{}:{}", other.path().join("bin").display(), std::env::var("PATH").unwrap());
    by_helper.env("DOCKER_CONFIG", other.path().join("docker")).env("PATH", path);
    assert!(ran(by_helper).ok().contains("0 blobs moved"));
}

#[test]
fn a_source_with_a_login() {
    if !installed() {
        return;
    }
    let source = guarded();
    let home = tempfile::tempdir().unwrap();
    let set = format!("artifacts.registry={}", source.address);
    let list = || etcdless(home.path(), &["mirror", "images", "list", "--digests", "--set", &set]);
    let hint = format!("`docker login {}` logs in", source.address);
    ran(list()).failed(6, &["asks for a login", &hint]);
    write(home.path().join(".config/containers/auth.json"), logins(&source.address, "bWU6cmlnaHQ="));
    ran(list())
        .failed(6, &[&format!("http://{}/v2/docker.io/rancher/kine/manifests/v0.16.4 is not there", source.address)]);
}

/// A registry that sends to another server for tokens, which gives one for everything, or for nothing.
async fn with_tokens(gives: bool) -> (http::Server, http::Server) {
    let scope = |reference: &&str| {
        let name = reference.rsplit_once(':').unwrap().0.replace('/', "%2F");
        format!("/token?scope=repository%3A{name}%3Apull%2Cpush&service=here")
    };
    let token = |path| (path, http::ok(r#"{ "token": "t" }"#));
    let tokens = http::Server::start(REFERENCES.iter().filter(|_| gives).map(scope).map(token)).await;
    let challenge = format!("Bearer realm=\"http://{}/token\",service=\"here\"", tokens.address);
    let asks = http::Answer { headers: vec![("WWW-Authenticate", challenge)], ..http::status(401) };
    (http::Server::start([("/v2/".to_owned(), asks)]).await, tokens)
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_asked_for_by_who_writes() {
    if !installed() {
        return;
    }
    let (source, _) = upstream();
    for gives in [true, false] {
        let (registry, tokens) = with_tokens(gives).await;
        let home = tempfile::tempdir().unwrap();
        write(home.path().join(".docker/config.json"), logins(&registry.address, "bWU6cmlnaHQ="));
        let url = format!("http://{}", registry.address);
        let plan = ran(etcdless(home.path(), &pushing(&source.address, &url, &["--dry-run"])));
        if !gives {
            let said = format!("cannot be pushed to {}: it refuses the login of me from ", registry.address);
            plan.failed(4, &[&said, "docker login"]);
            continue;
        }
        assert!(plan.ok().contains("9 images, 28 blobs to move"));
        let seen = tokens.seen();
        assert!(!seen.is_empty() && seen.iter().all(|asked| asked.contains("pull%2Cpush")), "{seen:?}");
    }
}

#[test]
fn a_registry_with_a_ca_of_its_own() {
    if !installed() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let server_key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".into(), "localhost".into()]).unwrap();
    let certificate = params.signed_by(&server_key, &issuer).unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("ca.pem"), ca.pem()).unwrap();
    fs::write(path("tls.pem"), certificate.pem()).unwrap();
    fs::write(path("tls.key"), server_key.serialize_pem()).unwrap();
    let tls = format!("  tls: {{ certificate: {}, key: {} }}\n", path("tls.pem").display(), path("tls.key").display());
    let ca = path("ca.pem").display().to_string();
    let key = path("tls.key").display().to_string();

    let (source, seed) = upstream();
    let target = Server::start(folder, &tls, "");
    let host = target.address.clone();
    push(&source, &host, &[]).failed(4, &["UnknownIssuer", "`--registry-ca FILE` trusts the CA"]);
    push(&source, &host, &["--registry-ca", "/nowhere.pem"]).failed(2, &["/nowhere.pem cannot be read: No such file"]);
    push(&source, &host, &["--registry-ca", &key]).failed(2, &["holds no certificate"]);
    push(&source, &format!("http://{host}"), &[])
        .failed(4, &["HTTP 400", &format!("it may want HTTPS: name it {host}")]);
    assert!(push(&source, &host, &["--registry-ca", &ca]).ok().contains("28 blobs moved"));
    assert_eq!(target.digest(KINE).as_ref(), Some(&seed.manifests[&(KINE, "amd64")]));

    push(&source, &source.address, &[])
        .failed(4, &[&format!("it seems to speak plain HTTP: name it http://{}", source.address)]);
    push(&source, "http://127.0.0.1:1", &[]).failed(4, &["Connection refused", "check that 127.0.0.1:1 is up"]);
}
