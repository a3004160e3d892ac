//! `download::open`: whole files, and transfers that end early.

use etcdless::artifact::download;
use etcdless::failure::Kind;
use etcdless::op::Fetch;
use tokio::io::AsyncReadExt;

use crate::server::{self, Answer, Server};

fn fetch(address: &str, size: u64) -> Fetch {
    Fetch {
        name: "kubelet".into(),
        version: "v1.34.4".into(),
        url: format!("http://{address}/kubelet"),
        sha256: String::new(),
        size,
        staged: String::new(),
        yields: vec![],
        push: true,
        environment: vec![],
    }
}

async fn read(answer: Answer, size: u64) -> (u64, String, std::io::Result<Vec<u8>>) {
    let server = Server::start([("/kubelet".to_owned(), answer)]).await;
    let (mut payload, total) = download::open(&fetch(&server.address, size)).await.unwrap();
    let mut body = vec![];
    let result = payload.read_to_end(&mut body).await;
    (total, server.address, result.map(|_| body))
}

#[tokio::test]
async fn a_file_comes_whole_with_its_length() {
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let (total, _, read) = read(server::ok(body.clone()), 0).await;
    assert_eq!(total, 3_000_000);
    assert!(read.unwrap() == body);
}

#[tokio::test]
async fn a_cut_connection_is_an_error_that_names_the_file() {
    let cut = Answer { announced: Some(200_000), ..server::ok(vec![7; 100_000]) };
    let (total, address, read) = read(cut, 0).await;
    assert_eq!(total, 200_000);
    let message = read.unwrap_err().to_string();
    let start = format!("kubelet v1.34.4 from http://{address}/kubelet ended after 100000 of 200000 bytes: ");
    assert!(message.starts_with(&start), "{message}");
}

#[tokio::test]
async fn a_cut_is_noticed_even_where_only_the_plan_knows_the_length() {
    let cut = Answer { unannounced: true, ..server::ok(vec![7; 100_000]) };
    let (total, address, result) = read(cut.clone(), 200_000).await;
    assert_eq!(total, 200_000);
    let message = result.unwrap_err().to_string();
    assert_eq!(message, format!("kubelet v1.34.4 from http://{address}/kubelet ended after 100000 of 200000 bytes"));
    let (total, _, result) = read(cut, 0).await;
    assert_eq!((total, result.unwrap().len()), (0, 100_000));
}

#[tokio::test]
async fn what_is_not_there_fails_at_once() {
    let server = Server::start([]).await;
    let failure = download::open(&fetch(&server.address, 0)).await.err().unwrap();
    let url = format!("http://{}/kubelet", server.address);
    assert_eq!(failure.kind, Kind::Step);
    assert_eq!(failure.message, format!("kubelet v1.34.4 cannot be fetched from {url}: HTTP 404 Not Found"));

    let failure = download::open(&fetch(&server::refused().await, 0)).await.err().unwrap();
    assert!(failure.message.contains("Connection refused"), "{failure}");
}
