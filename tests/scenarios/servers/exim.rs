//! Mail through exim4, as Debian ships it: one process for each connection, in inetd's way, without privileges.

use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

use mail_parser::{MessageParser, MimeHeaders as _};
use runbell::{BuildContext, CA_FILE, Notification, Notifier, Registry, RetryPolicy, RunState, Status};
use runbell_testkit::sample_run;
use runbell_testkit::smtp::TestCa;

use super::{present, program};
use crate::tools::{Folder, runbell, say};

/// An exim that delivers into a folder. Connections are accepted here and handed over.
struct Exim {
    folder: Folder,
    program: PathBuf,
    port: u16,
    accepting: Option<JoinHandle<()>>,
}

/// Commands as `nobody` when the tests run as root: exim gives up root for a configuration of its own, and then could not
/// deliver.
fn unprivileged(program: &PathBuf) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]).arg(program);
    command
}

impl Exim {
    /// `None` where exim is not installed; a message has said so then.
    fn start(ca: &TestCa, implicit: bool) -> Option<Self> {
        let found = program("exim4");
        let remedy = "apt-get install exim4-daemon-light";
        if !present("exim4", found.is_some(), remedy) {
            return None;
        }
        let (program, folder) = (found.expect("it was found"), Folder::new());
        let (certificate, key) = ca.certificate("localhost");
        folder.file("server.pem", &certificate);
        folder.file("server.key", &key);
        for name in ["spool", "mail"] {
            std::fs::create_dir(folder.path(name)).expect("a folder");
        }
        let root = folder.path("");
        let root = root.to_str().expect("UTF-8").trim_end_matches('/').to_owned();
        let (user, group) = if rustix::process::geteuid().is_root() {
            ("nobody".to_owned(), "nogroup".to_owned())
        } else {
            (rustix::process::geteuid().as_raw().to_string(), rustix::process::getegid().as_raw().to_string())
        };
        let config =
            include_str!("exim.conf").replace("@FOLDER@", &root).replace("@USER@", &user).replace("@GROUP@", &group);
        folder.file("exim.conf", &config);
        if rustix::process::geteuid().is_root() {
            let owned = Command::new("chown").args(["-R", "nobody:nogroup", &root]).status().expect("chown");
            assert!(owned.success());
        }
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let (exim, config) = (program.clone(), folder.path("exim.conf"));
        let accepting = std::thread::spawn(move || {
            // A connection that says nothing ends it; see `Drop`.
            while let Ok((stream, peer)) = listener.accept() {
                let mut nothing = [0_u8; 1];
                stream.set_nonblocking(true).expect("set");
                let ended = matches!(stream.peek(&mut nothing), Ok(0))
                    && peer.ip().is_loopback()
                    && stream.take_error().is_ok();
                stream.set_nonblocking(false).expect("set");
                if ended {
                    break;
                }
                let mut command = unprivileged(&exim);
                command.arg("-C").arg(&config).arg("-bs");
                if implicit {
                    command.arg("-tls-on-connect");
                }
                let socket = OwnedFd::from(stream);
                let other = socket.try_clone().expect("a second handle");
                let mut child = command
                    .stdin(Stdio::from(socket))
                    .stdout(Stdio::from(other))
                    .stderr(Stdio::null())
                    .spawn()
                    .expect("exim starts");
                // The command holds handles of its own, and the connection ends only when all are gone.
                drop(command);
                std::thread::spawn(move || child.wait());
            }
        });
        Some(Exim { folder, program, port, accepting: Some(accepting) })
    }

    /// Delivers what was taken, and returns it.
    fn delivered(&self) -> Vec<Vec<u8>> {
        let mut command = unprivileged(&self.program);
        let run = command.arg("-C").arg(self.folder.path("exim.conf")).arg("-q").status().expect("exim starts");
        assert!(run.success());
        let new = self.folder.path("mail").join("new");
        let Ok(entries) = std::fs::read_dir(new) else { return Vec::new() };
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
        files.sort();
        files.into_iter().map(|file| std::fs::read(file).expect("a mail")).collect()
    }
}

impl Drop for Exim {
    fn drop(&mut self) {
        if let (Ok(stream), Some(accepting)) =
            (std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)), self.accepting.take())
        {
            // Closed before it is looked at.
            let _ = stream.shutdown(std::net::Shutdown::Both);
            drop(stream);
            drop(accepting);
        }
    }
}

/// Sends the sample run's news, and returns what the report says.
async fn send(exim: &Exim, ca: &TestCa, change: impl FnOnce(Notification) -> Notification) -> (Status, String) {
    let notification = Notification::new("mail", "ops")
        .when([RunState::Completed])
        .message("schön & <b>fertig</b>")
        .param("server_host", "localhost")
        .param("server_port", i64::from(exim.port))
        .param("sender_address", "runs@example.com")
        .param("email_addresses", "ada@example.com, bob@example.com")
        .param("username", "u")
        .secret_param("password", "p-1234567");
    let cx = BuildContext { env: ca.env(), ..BuildContext::here() };
    let registry = Registry::collect(runbell::BUILTINS.iter().copied()).expect("no duplicates");
    let notifier = Notifier::builder(registry)
        .context(cx)
        .ui_url("https://ui.example")
        .retry(RetryPolicy::once())
        .notification(change(notification))
        .build()
        .expect("good params");
    let line = notifier.run_changed(sample_run().document()).await.lines.pop().expect("a line");
    (line.status, line.reason)
}

#[tokio::test]
async fn starttls_and_a_login() {
    let ca = TestCa::new();
    let Some(exim) = Exim::start(&ca, false) else { return };
    let outcome = send(&exim, &ca, |mail| mail.param("start_tls", true)).await;
    assert_eq!(outcome, (Status::Sent, "matched".to_owned()));
    let mails = exim.delivered();
    assert_eq!(mails.len(), 1);
    let mail = MessageParser::default().parse(&mails[0]).expect("a mail");
    assert_eq!(mail.subject(), Some("[info] Run completed in project demo: schön & <b>fertig</b>"));
    let received = mail.header_raw("Received").unwrap_or_default();
    assert!(received.contains("esmtpsa"), "encrypted and logged in: {received}");
    assert_eq!(mail.from().and_then(|from| from.first()?.address()), Some("runs@example.com"));
    let to: Vec<_> = mail.to().expect("To").iter().filter_map(|to| to.address()).collect();
    assert_eq!(to, ["ada@example.com", "bob@example.com"]);
    assert!(mail.message_id().expect("an id").ends_with("@example.com"));
    assert_eq!(mail.date().map(mail_parser::DateTime::to_rfc3339).as_deref(), Some("2026-02-03T04:05:06Z"));
    let types: Vec<_> = mail.parts.iter().filter_map(|part| part.content_type()).filter_map(|t| t.subtype()).collect();
    assert_eq!(types, ["alternative", "plain", "html"]);
    let (text, html) = (mail.body_text(0).expect("text"), mail.body_html(0).expect("HTML"));
    assert!(text.starts_with("[info] ops: Run completed in project demo: schön & <b>fertig</b>"), "{text}");
    assert!(text.contains("  results:\n    accuracy=0.9342\n    loss=0.21"), "{text}");
    assert!(html.contains("schön &amp; &lt;b&gt;fertig&lt;/b&gt;") && html.contains("accuracy=0.9342<br>loss=0.21"));
    assert!(html.contains("<a href=\"https://ui.example/projects/demo/jobs/monitor-jobs/train-churn/"), "{html}");
}

#[tokio::test]
async fn encryption_from_the_first_byte() {
    let ca = TestCa::new();
    let Some(exim) = Exim::start(&ca, true) else { return };
    let outcome = send(&exim, &ca, |mail| mail.param("use_tls", true)).await;
    assert_eq!(outcome, (Status::Sent, "matched".to_owned()));
    let mails = exim.delivered();
    let head = String::from_utf8_lossy(&mails[0]).into_owned();
    assert!(mails.len() == 1 && head.contains("with esmtpsa"), "{head}");
}

#[tokio::test]
async fn refusals_of_exim() {
    let (ca, other) = (TestCa::new(), TestCa::new());
    let Some(exim) = Exim::start(&ca, false) else { return };
    let to = |address: &'static str| {
        move |mail: Notification| mail.param("start_tls", true).param("email_addresses", address)
    };
    for (outcome, said) in [
        (
            send(&exim, &ca, |mail| mail.param("start_tls", true).secret_param("password", "wrong-password")).await,
            "unauthorized: the mail server refuses user name or password [at=AUTH code=535",
        ),
        (
            send(&exim, &other, |mail| mail.param("start_tls", true)).await,
            "comes from an authority that is not trusted",
        ),
        (
            send(&exim, &ca, |mail| mail.param("start_tls", true).param("server_host", "127.0.0.1")).await,
            "certificate is for another host",
        ),
        (
            send(&exim, &ca, to("tempfail@example.com")).await,
            "unreachable: the mail server cannot take the mail for tempfail@example.com (451) now",
        ),
        (
            send(&exim, &ca, to("permfail@example.com")).await,
            "rejected: the mail server refuses the recipients permfail@example.com (550) [accepted=0 of 1]",
        ),
    ] {
        assert!(outcome.0 == Status::Error && outcome.1.contains(said), "{outcome:?}\n{said}");
    }
    assert!(exim.delivered().is_empty());
    // Those who can get it do.
    let outcome = send(&exim, &ca, to("ada@example.com,permfail@example.com")).await;
    assert!(outcome.1.contains("permfail@example.com (550) [accepted=1 of 2]"), "{outcome:?}");
    assert_eq!(exim.delivered().len(), 1);
}

#[test]
fn send_test_from_the_command_line() {
    let ca = TestCa::new();
    let Some(exim) = Exim::start(&ca, false) else { return };
    let authorities = exim.folder.file("ca.pem", &ca.pem());
    let spec = format!(
        "mail:server_host=localhost,server_port={},start_tls=yes,sender_address=runs@example.com,\
         email_addresses=ada@example.com,username=u,password=p-1234567",
        exim.port
    );
    let said = say(runbell(&["send-test", &spec]).env(CA_FILE, authorities));
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    assert_eq!(said.json()[0]["status"], "sent");
    let mail = String::from_utf8_lossy(&exim.delivered()[0]).into_owned();
    assert!(mail.contains("Subject: [info] TEST: Run completed in project runbell-test"), "{mail}");
}
