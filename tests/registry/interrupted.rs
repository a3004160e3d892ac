//! A push that was killed, and the next one.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::images::{REFERENCES, upstream};
use crate::server::{Server, etcdless, installed, push, pushing};

/// A way to a server on which answers come slowly. It ends with the test's process.
fn slow(server: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = server.to_owned();
    std::thread::spawn(move || {
        while let Ok((client, _)) = listener.accept() {
            let upstream = TcpStream::connect(&server).unwrap();
            let (from, to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
            std::thread::spawn(move || carry(from, to, Duration::ZERO));
            std::thread::spawn(move || carry(upstream, client, Duration::from_millis(20)));
        }
    });
    address
}

fn carry(mut from: TcpStream, mut to: TcpStream, pause: Duration) {
    let mut buffer = [0; 16_384];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        std::thread::sleep(pause);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

/// A push of everything from a slow server, two images at once.
fn begin(home: &std::path::Path, source: &Server, url: &str, output: fn() -> Stdio) -> Child {
    let mut push = etcdless(home, &pushing(&slow(&source.address), url, &["--concurrency", "2"]));
    push.stdout(output()).stderr(output()).spawn().unwrap()
}

#[test]
fn a_killed_push_leaves_nothing_half_there_and_goes_on() {
    if !installed() {
        return;
    }
    let (source, seed) = upstream();
    let target = Server::empty();
    let url = format!("http://{}", target.address);
    let home = tempfile::tempdir().unwrap();
    let mut first = begin(home.path(), &source, &url, Stdio::null);
    target.until(|_| (target.sent(0).len() >= 8).then_some(()));
    first.kill().unwrap();
    first.wait().unwrap();

    let sent = target.sent(0).len();
    let tagged = REFERENCES.iter().filter(|reference| target.digest(reference).is_some()).count();
    assert!(sent < 28 && tagged < REFERENCES.len(), "it was killed too late: {sent} blobs");

    let told = push(&source, &url, &[]).ok();
    let all = target.sent(0);
    assert!(all.len() == 28 && all.iter().collect::<BTreeSet<_>>().len() == 28, "each blob was sent once: {told}");
    assert!(!told.contains(": 28 blobs moved"), "{told}");
    for reference in REFERENCES {
        assert_eq!(target.digest(reference).as_ref(), Some(&seed.manifests[&(reference, "amd64")]), "{reference}");
    }
}

#[test]
fn an_interrupted_push_finishes_the_images_that_began() {
    if !installed() {
        return;
    }
    let (source, seed) = upstream();
    let target = Server::empty();
    let url = format!("http://{}", target.address);
    let home = tempfile::tempdir().unwrap();
    let push = begin(home.path(), &source, &url, Stdio::piped);
    target.until(|_| (!target.sent(0).is_empty()).then_some(()));
    assert!(Command::new("kill").args(["-INT", &push.id().to_string()]).status().unwrap().success());
    let output = push.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{said}");

    let there = |reference: &&&str| target.digest(reference).as_ref() == Some(&seed.manifests[&(**reference, "amd64")]);
    let whole = REFERENCES.iter().filter(there).count();
    assert!((1..REFERENCES.len()).contains(&whole), "{whole} images\n{said}");
    assert!(said.contains(&format!("interrupted: {whole} of 9 images are in {}", target.address)), "{said}");
}
