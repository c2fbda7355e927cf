//! The fake peer does what it says, seen from a plain socket.
#![allow(clippy::expect_used, reason = "helpers of tests fail by panicking")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use runbell_testkit::{FakeAnswer, FakeHttp};

fn connect(peer: &FakeHttp) -> TcpStream {
    TcpStream::connect(peer.address()).expect("it accepts")
}

/// Sends a request that asks to close, and reads all there is.
fn post(peer: &FakeHttp, path: &str) -> String {
    let mut stream = connect(peer);
    write!(stream, "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi")
        .expect("sent");
    let mut answer = Vec::new();
    // A reset ends the answer as an error.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn requests_are_recorded_in_full() {
    let peer = FakeHttp::start().await;
    let mut stream = connect(&peer);
    let first = "PUT /a%20b?c=d HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nx-a: 2\r\nTransfer-Encoding: chunked\r\n\r\n";
    // Two requests in one write: the second one by the same connection.
    let both = format!("{first}3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\n\r\nGET /next HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(both.as_bytes()).expect("sent");
    peer.until_requests(2).await;
    let requests = peer.requests();
    assert_eq!((requests[0].method.as_str(), requests[0].path.as_str()), ("PUT", "/a%20b?c=d"));
    assert_eq!(requests[0].text(), "abcde");
    let names: Vec<&str> = requests[0].headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["Host", "X-A", "x-a", "Transfer-Encoding"]);
    assert_eq!(requests[0].header("HOST"), Some("x"));
    assert_eq!(requests[1].connection, requests[0].connection);
    assert_eq!((peer.connections(), peer.malformed()), (1, 0));
    post(&peer, "/other");
    assert_eq!(peer.requests()[2].connection, requests[0].connection + 1);
}

#[tokio::test]
async fn answers_come_in_line_then_by_request_then_as_usual() {
    let peer = FakeHttp::start().await;
    peer.answer(FakeAnswer::status(503).header("retry-after", "7")).answer(FakeAnswer::redirect(302, "/b"));
    assert!(post(&peer, "/").starts_with("HTTP/1.1 503 FakeAnswer\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n"));
    assert!(post(&peer, "/").contains("location: /b\r\n"));
    assert!(post(&peer, "/").ends_with("\r\n\r\nok"));
    peer.answer_with(|request| FakeAnswer::status(if request.path == "/a" { 201 } else { 404 }));
    assert!(post(&peer, "/a").starts_with("HTTP/1.1 201 "));
    assert!(post(&peer, "/b").starts_with("HTTP/1.1 404 "));
    peer.answer_always(FakeAnswer::status(204).body("never sent"));
    let answer = post(&peer, "/a");
    assert!(answer.starts_with("HTTP/1.1 204 ") && !answer.contains("content-length") && !answer.contains("never"));
    assert!(peer.answer(FakeAnswer::ok().echoing()).take_requests().len() == 6 && peer.requests().is_empty());
}

#[tokio::test]
async fn faults_are_what_they_say() {
    let peer = FakeHttp::start().await;
    let answer = |answer: FakeAnswer| {
        peer.answer(answer);
        post(&peer, "/")
    };
    assert_eq!(answer(FakeAnswer::close()), "");
    assert_eq!(answer(FakeAnswer::reset()), "");
    let half = answer(FakeAnswer::half_head());
    assert!(half.starts_with("HTTP/1.1 200 ") && !half.contains("\r\n\r\n"));
    assert!(answer(FakeAnswer::half_body(200).body("part")).ends_with("content-length: 4100\r\n\r\npart"));
    assert!(!answer(FakeAnswer::garbage()).contains("HTTP"));
    assert!(
        answer(FakeAnswer::status(400).echoing()).ends_with("POST /\nHost: x\nConnection: close\nContent-Length: 2\n")
    );
}

#[tokio::test]
async fn endless_answers_are_counted_until_the_client_has_had_enough() {
    let peer = FakeHttp::start().await;
    for answer in [FakeAnswer::endless_body(200), FakeAnswer::endless_head()] {
        peer.take_requests();
        peer.answer(answer);
        let mut stream = connect(&peer);
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
        peer.until_bytes_sent(64 * 1024).await;
        let connection = peer.requests()[0].connection;
        drop(stream);
        peer.until_closed(connection).await;
        assert!(peer.bytes_sent() > 64 * 1024);
    }
}

#[tokio::test]
async fn a_held_answer_waits_and_notices_a_client_that_leaves() {
    let peer = FakeHttp::start().await;
    let (answer, hold) = FakeAnswer::ok().held();
    peer.answer(answer);
    let mut stream = connect(&peer);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
    peer.until_requests(1).await;
    stream.set_nonblocking(true).expect("a socket");
    assert_eq!(stream.read(&mut [0; 1]).expect_err("no answer yet").kind(), std::io::ErrorKind::WouldBlock);
    stream.set_nonblocking(false).expect("a socket");
    hold.release();
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("the answer");
    assert!(text.ends_with("ok"));

    for answer in [FakeAnswer::ok().held(), (FakeAnswer::black_hole(), FakeAnswer::ok().held().1)] {
        peer.take_requests();
        peer.answer(answer.0);
        let mut stream = connect(&peer);
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
        peer.until_requests(1).await;
        let connection = peer.requests()[0].connection;
        drop(stream);
        peer.until_closed(connection).await;
    }
}

#[tokio::test]
async fn refused_ports_refuse_and_dropping_ends_it_all() {
    let peer = FakeHttp::start().await;
    assert_eq!(peer.refused_url("/x"), format!("http://{}/x", peer.refused_address()));
    let refused = TcpStream::connect(peer.refused_address()).expect_err("the port refuses");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    let before = peer.connections();
    peer.settle().await;
    assert_eq!(peer.connections(), before);
    peer.answer(FakeAnswer::black_hole());
    let mut open = connect(&peer);
    open.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    peer.until_requests(1).await;
    let address = peer.address();
    drop(peer);
    assert_eq!(open.read(&mut [0; 1]).unwrap_or(0), 0);
    assert!(TcpStream::connect(address).is_err());
}

#[tokio::test]
async fn malformed_requests_are_counted() {
    let peer = FakeHttp::start().await;
    let mut stream = connect(&peer);
    stream.write_all(b"\x16\x03\x01 not http\r\n\r\n").expect("sent");
    peer.until_closed(0).await;
    assert_eq!((peer.malformed(), peer.requests().len()), (1, 0));
}
