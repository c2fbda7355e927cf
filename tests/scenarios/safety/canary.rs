//! Secrets given to a server are in nothing that it writes, logs or answers, whatever happens.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use runbell_testkit::smtp::{FakeSmtp, SmtpFault, Step};
use runbell_testkit::{FakeAnswer, FakeHttp};
use serde_json::{Value, json};

use super::hidden::{Hidden, Search};
use crate::serving::{Answered, Serving, answer, configured, serve};
use crate::tools::Folder;

/// A server with a record of all that it answered.
struct Asked {
    server: Serving,
    answers: RefCell<Vec<(String, Vec<u8>)>>,
}

impl Asked {
    fn new(server: Serving) -> Self {
        Asked { server, answers: RefCell::default() }
    }

    fn keep(&self, what: &str, reply: &Answered) {
        let mut all = format!("{} {:?}\n", reply.status, reply.headers).into_bytes();
        all.extend_from_slice(&reply.bytes);
        self.answers.borrow_mut().push((what.to_owned(), all));
    }

    async fn raw(&self, what: &str, request: reqwest::RequestBuilder) -> Answered {
        let reply = answer(request).await;
        self.keep(what, &reply);
        reply
    }

    async fn get(&self, path: &str) -> Answered {
        let reply = self.server.client.get(path).await;
        self.keep(&format!("GET {path}"), &reply);
        reply
    }

    async fn send(&self, method: &str, path: &str, body: &Value) -> Answered {
        let reply = self.server.client.send(method, path, body).await;
        self.keep(&format!("{method} {path}"), &reply);
        reply
    }
}

/// The secrets of the notifications of a run.
struct Planted {
    slack: Hidden,
    password: Hidden,
    header: Hidden,
    signing: Hidden,
    url: Hidden,
    git: Hidden,
    living: Hidden,
    mail: Hidden,
    login: Hidden,
    /// In `params`, in fields that the schema calls secret.
    open_url: Hidden,
    open_header: Hidden,
    open_token: Hidden,
}

impl Planted {
    fn new() -> Self {
        Planted {
            slack: Hidden::plain("slack's webhook"),
            password: Hidden::new("the password in a URL"),
            header: Hidden::new("a header"),
            signing: Hidden::plain("signing_secret"),
            url: Hidden::plain("a webhook's url"),
            git: Hidden::plain("git's token"),
            living: Hidden::plain("git's GIT_TOKEN"),
            mail: Hidden::new("mail's password"),
            login: Hidden::plain("mail's username"),
            open_url: Hidden::plain("params.url"),
            open_header: Hidden::new("params.headers"),
            open_token: Hidden::plain("params.token"),
        }
    }

    /// What is given as secret.
    fn secret(&self) -> Vec<&Hidden> {
        let Planted { slack, password, header, signing, url, git, living, mail, login, .. } = self;
        vec![slack, password, header, signing, url, git, living, mail, login]
    }

    /// What is given in `params`.
    fn open(&self) -> Vec<&Hidden> {
        vec![&self.open_url, &self.open_header, &self.open_token]
    }

    /// A text that repeats them, as they are and as a URL holds them.
    fn repeated(&self, with_open: bool) -> String {
        let all = self
            .secret()
            .into_iter()
            .filter(|one| one.place != self.login.place)
            .chain(self.open().into_iter().filter(|_| with_open));
        all.map(|one| format!("{} ", one.text)).chain([self.password.encoded()]).collect()
    }

    /// Notifications of every kind, for two targets and a mail server.
    fn notifications(&self, first: &str, second: &str, smtp: u16, with_open: bool) -> Value {
        let when = json!(["running", "completed", "error", "aborted"]);
        let (repeated, second_url) = (self.repeated(with_open), format!("http://{second}"));
        let message = format!("see {repeated}");
        let signing = format!("whsec_{}", self.signing.text);
        let mut list = json!([
            { "kind": "slack", "name": "slack", "message": message,
              "secret_params": { "webhook": format!("http://{first}/services/{}", self.slack.text) } },
            { "kind": "webhook", "name": "hook", "message": message,
              "params": { "override_body": { "said": "{{ run.status.error }} {{ notification }}" } },
              "condition": format!("run.status.error != {:?}", self.url.text),
              "secret_params": {
                "url": format!("http://user:{}@{first}/{}", self.password.encoded(), self.url.text),
                "headers": { "Authorization": format!("Bearer {}", self.header.text) }, "signing_secret": signing } },
            { "kind": "git", "name": "git", "message": message, "params": { "server": second_url, "repo": "o/r", "issue": 1 },
              "secret_params": { "token": self.git.text } },
            { "kind": "git", "name": "living", "params": { "server": second_url, "repo": "o/r", "issue": 1, "update": true },
              "secret_params": { "GIT_TOKEN": self.living.text } },
            { "kind": "mail", "name": "mail", "message": message, "params": { "server_host": "127.0.0.1", "server_port": smtp,
                "sender_address": "a@b.co", "email_addresses": "c@d.co", "use_tls": false, "start_tls": false },
              "secret_params": { "username": self.login.text, "password": self.mail.text } },
            { "kind": "mail", "name": "defaults", "message": message },
            { "kind": "webhook", "name": "open", "message": message, "params": { "url": format!("http://{first}/{}", self.open_url.text),
                "headers": { "X-Token": self.open_header.text } } },
            { "kind": "git", "name": "open git", "params": { "server": second_url, "repo": "o/r", "issue": 1, "token": self.open_token.text } },
            { "kind": "webhook", "name": "named", "secret_params": { "secret": "HOOK" } },
            { "kind": "webhook", "name": "misnamed", "secret_params": { "secret": "TEXT" } },
        ]);
        for one in list.as_array_mut().expect("a list") {
            one["when"] = when.clone();
            // Conditions see secrets masked, whatever they say of them.
            one["condition"] = one.get("condition").cloned().unwrap_or(json!(""));
        }
        list
    }

    /// A run that says in every place what it should not know.
    fn run(&self, state: &str, with_open: bool) -> Value {
        let repeated = self.repeated(with_open);
        json!({
            "metadata": { "name": format!("train {repeated}"), "labels": { "said": repeated, &self.header.text: "x" } },
            "spec": { "parameters": { "deep": [{ "in": repeated }] },
                "notifications": [{ "kind": "webhook", "name": "own", "params": { "url": format!("http://h.example/{}", self.url.text) },
                    "secret_params": { "headers": { "X": self.header.text } } }] },
            "status": { "state": state, "error": format!("failed with {repeated}"), "results": { "r": repeated } },
        })
    }
}

/// Every file of a folder, whatever is in it.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push((path.clone(), std::fs::read(&path).expect("a file"))),
        }
    }
    found
}

/// Requests that are refused, each with a secret in it.
fn refused(secret: &str) -> Vec<(&'static str, String, String)> {
    let event = |notifications: Value| {
        json!({ "run": { "status": { "state": "error" } }, "notifications": notifications }).to_string()
    };
    let hook = |params: Value| json!([{ "kind": "webhook", "name": "n", "secret_params": params }]);
    let lists = [
        json!([{ "kind": "nosuch", "name": "n", "secret_params": { "url": secret } }]),
        json!([{ "kind": "webhook", "name": "n", "secret_params": secret }]),
        json!([{ "kind": "webhook", "name": "n", "secret_params": [secret] }]),
        json!([{ "kind": "webhook", "name": "n", "params": secret }]),
        json!([{ "kind": "webhook", "name": "n", "when": ["nosuch"], "secret_params": { "url": secret } }]),
        json!([secret]),
        json!({ "secret_params": secret }),
        hook(json!({ "url": secret })),
        hook(json!({ "url": format!("ftp://{secret}@h.example/") })),
        hook(json!({ "url": format!("http://user:{secret}@169.254.169.254/{secret}") })),
        hook(json!({ "url": { "a": secret } })),
        hook(json!({ "url": "http://h.example/", "headers": [secret] })),
        hook(json!({ "url": "http://h.example/", "headers": { "X": [secret] } })),
        hook(json!({ "url": "http://h.example/", "headers": { "X": format!("{secret}\n") } })),
        hook(json!({ "url": "http://h.example/", "headers": { "X Y": secret } })),
        hook(json!({ "url": "http://h.example/", "signing_secret": format!("whsec_!{secret}") })),
        hook(json!({ "url": "http://h.example/", "timeout_secs": secret })),
        json!([{ "kind": "slack", "name": "n", "secret_params": { "webhook": secret } }]),
        json!([{ "kind": "git", "name": "n", "params": { "repo": "o/r" }, "secret_params": { "token": secret } }]),
        json!([{ "kind": "git", "name": "n", "params": { "repo": "o/r", "issue": 1 }, "secret_params": { "token": [secret] } }]),
        json!([{ "kind": "mail", "name": "n", "secret_params": { "password": secret, "email_addresses": [5] } }]),
    ];
    let events = "projects/p/runs/refused/events".to_owned();
    let mut all: Vec<_> = lists.iter().map(|list| ("POST", events.clone(), event(list.clone()))).collect();
    let set = |list: &Value| {
        ("PUT", "projects/p/runs/stored/notifications".to_owned(), json!({ "notifications": list }).to_string())
    };
    all.extend(lists.iter().map(set));
    let texts = [
        format!("{{\"run\": \"{secret}"),
        format!("{{\"run\": {{}}, \"state\": {}}}", json!(secret)),
        format!("{{\"run\": {{}}, \"state\": \"error\", \"at\": {}}}", json!(secret)),
        json!(secret).to_string(),
        json!([secret]).to_string(),
        json!({ "run": secret }).to_string(),
        json!({ "run": { "metadata": secret, "status": { "state": "error" } } }).to_string(),
        json!({ "run": { "status": secret } }).to_string(),
        json!({ "run": {}, "notifications": secret, "state": "error" }).to_string(),
        format!("{} {}", json!({ "run": {} }), json!(secret)),
        json!({ "run": { "large": format!("{secret}{}", "x".repeat(300_000)) } }).to_string(),
    ];
    all.extend(texts.map(|text| ("POST", events.clone(), text)));
    let secrets = "projects/p/secrets".to_owned();
    for body in [
        json!({ "provider": "kubernetes", "secrets": { "K": [secret] } }),
        json!({ "provider": "kubernetes", "secrets": [secret] }),
        json!({ "provider": secret, "secrets": { "K": secret } }),
        json!({ "provider": "kubernetes", "secrets": { "mlrun.x": secret } }),
        json!({ "provider": "kubernetes", "secrets": { "": secret } }),
    ] {
        all.push(("POST", secrets.clone(), body.to_string()));
    }
    all.push((
        "PATCH",
        "projects/p/runs/stored".to_owned(),
        json!({ "metadata.name.x": secret, "status.state.x": secret }).to_string(),
    ));
    all.push(("PATCH", "projects/p/runs/nosuch".to_owned(), json!({ "status.error": secret }).to_string()));
    all.push(("POST", "projects".to_owned(), json!({ "metadata": { "token": secret } }).to_string()));
    all.push(("POST", "tokens".to_owned(), json!({ "name": [secret] }).to_string()));
    all
}

/// A run's document, or several, without what a user gave as `params`.
fn without_params(mut document: Value) -> Value {
    fn cut(run: &mut Value) {
        for one in run["spec"]["notifications"].as_array_mut().into_iter().flatten() {
            one.as_object_mut().expect("an object").remove("params");
        }
    }
    cut(&mut document["data"]);
    document["runs"].as_array_mut().into_iter().flatten().for_each(cut);
    document
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_keeps_every_secret() {
    let (folder, planted) = (Folder::new(), Planted::new());
    let smtp = FakeSmtp::start().await;
    // It repeats the login it refuses.
    smtp.fault(Step::Auth, SmtpFault::Say("535 5.7.8 {} is wrong".to_owned()), usize::MAX);
    let alarms = FakeHttp::start().await;
    alarms.answer_always(FakeAnswer::status(403).echoing());
    let operators = [
        Hidden::plain("on_failure's url"),
        Hidden::new("on_failure's header"),
        Hidden::new("the mail defaults' password"),
    ];
    let [alarm_url, alarm_header, mail_default] = &operators;
    let config = json!({
        "mail": { "server_host": "127.0.0.1", "server_port": smtp.port(), "sender_address": "a@b.co", "email_addresses": "c@d.co",
            "username": "u", "password": mail_default.text, "use_tls": false, "start_tls": false },
        "on_failure": [{ "kind": "webhook", "name": "alarm", "secret_params": { "url": alarms.url(&format!("/{}", alarm_url.text)),
            "headers": { "X-Token": alarm_header.text } } }],
        "retry": { "waits_secs": [0], "jitter": 0, "longest_wait_secs": 1000 },
        "limits": { "body_bytes": 200_000 },
    });
    let config = configured(&folder, &config);
    let start = || {
        let mut command = serve(&folder, &["-c", &config]);
        Serving::of(command.env("RUNBELL_LOG", "trace"))
    };
    let asked = Asked::new(start());

    // A project's own secrets.
    let (named, text) = (Hidden::plain("a project's secret"), Hidden::new("a project's secret that is no JSON"));
    let target = FakeHttp::start().await;
    let kept =
        json!({ "HOOK": json!({ "url": target.url(&format!("/{}", named.text)) }).to_string(), "TEXT": text.text });
    asked.send("POST", "projects/p/secrets", &json!({ "provider": "kubernetes", "secrets": kept })).await.expect(201);

    // Every kind, at targets that do whatever targets do.
    let mut peers = Vec::new();
    for (what, answer) in [
        ("success", FakeAnswer::ok().echoing()),
        (
            "redirect",
            FakeAnswer::redirect(302, format!("http://{}.invalid/{}", planted.slack.text, planted.header.text)),
        ),
        ("refused", FakeAnswer::status(403).body(planted.repeated(true))),
        ("gone", FakeAnswer::status(404).echoing()),
        ("throttled", FakeAnswer::status(429).header("retry-after", "900").echoing()),
        ("broken", FakeAnswer::status(500).echoing()),
        ("closed", FakeAnswer::close()),
        ("garbage", FakeAnswer::garbage()),
        ("unreachable", FakeAnswer::ok()),
    ] {
        // Two, for one that keeps failing would be left alone for a while.
        let (first, second) = (FakeHttp::start().await, FakeHttp::start().await);
        first.answer_always(answer.clone());
        second.answer_always(answer);
        let unreachable = what == "unreachable";
        let fails = ["broken", "closed", "garbage", "unreachable"].contains(&what);
        let address = |peer: &FakeHttp| if unreachable { peer.refused_address() } else { peer.address() }.to_string();
        let mut list = planted.notifications(&address(&first), &address(&second), smtp.port(), !fails);
        if fails {
            // As many as are tried before that, each twice.
            list.as_array_mut()
                .expect("a list")
                .retain(|one| !["open", "open git"].contains(&one["name"].as_str().expect("a name")));
        }
        let event = json!({ "run": planted.run("error", !fails), "notifications": list, "state": "error" });
        asked.send("POST", &format!("projects/p/runs/{what}/events"), &event).await.expect(200);
        peers.push((first, second));
    }
    // The same run once more, and changed afterwards.
    let event = json!({ "run": planted.run("error", true) });
    asked.send("POST", "projects/p/runs/success/events", &event).await.expect(200);
    let changes = json!({ "status.error": planted.repeated(true), "status.results": { &planted.header.text: planted.git.text },
        "spec.notifications": planted.run("error", true)["spec"]["notifications"] });
    asked.send("PATCH", "projects/p/runs/success", &changes).await.expect(200);
    asked.send("POST", "projects/p/runs/broken", &planted.run("error", false)).await.expect(200);

    // A run that is only stored: its notifications are never sent, and are no less secret.
    let stored_secret = Hidden::new("a stored run's secret_params");
    let stored = json!({ "metadata": { "name": "stored" },
        "spec": { "notifications": [{ "kind": "webhook", "name": "w", "secret_params": { "headers": { "X": stored_secret.text } } },
            { "kind": "nosuch", "secret_params": { "x": [stored_secret.text] } }] },
        "status": { "state": "running", "error": format!("with {}", stored_secret.text) } });
    asked.send("POST", "projects/p/runs/stored", &stored).await.expect(200);
    let again = json!({ "spec.notifications": stored["spec"]["notifications"], "status.error": stored_secret.text });
    asked.send("PATCH", "projects/p/runs/stored", &again).await.expect(200);
    asked.send("PUT", "projects/q", &json!({ "spec": stored["spec"], "note": stored_secret.text })).await.expect(200);

    // What is refused.
    let bad = Hidden::new("a refused request");
    for (method, path, body) in refused(&bad.text) {
        let reply = asked
            .raw(&format!("{method} {path} {body:.200}"), asked.server.client.request(method, &path).body(body.clone()))
            .await;
        assert!((400..500).contains(&reply.status), "{} {method} {path} {body:.200}: {}", reply.status, reply.text());
    }
    let raw = [bad.text.as_bytes(), b"\xff\xfe"].concat();
    asked.raw("no UTF-8", asked.server.client.request("POST", "projects/p/runs/x/events").body(raw)).await.expect(400);
    let token = Hidden::plain("a token that is none");
    let query = format!("access_token={0}&token=rbt_00000000_{0}", token.text);
    for path in [
        "projects/p/runs?page-size=1",
        "projects/p/deliveries?page-size=1",
        "nowhere?x=1",
        "kinds?x=1",
        "projects/p/runs?page=x",
        "healthz?x=1",
    ] {
        let request = asked.server.client.request("GET", &format!("{path}&{query}"));
        asked.raw(path, request.bearer_auth(&token.text)).await;
    }
    asked.get(&format!("projects/p/runs?page-token={}", token.text)).await.expect(400);

    // Every delivery is attempted; then deliveries are replayed, cancelled and explained.
    let settled = |said: &Value| {
        said["deliveries"].as_array().expect("a list").iter().all(|one| match one["status"].as_str() {
            Some("sent" | "failed" | "superseded") => true,
            Some("retry") => one["uid"] == "throttled",
            _ => false,
        })
    };
    let all = asked.server.client.until_so("projects/p/deliveries?page-size=1000", settled).await;
    asked.server.client.until_so("projects/_runbell/deliveries?page-size=1000", settled).await;
    let deliveries = all["deliveries"].as_array().expect("a list").clone();
    assert!(deliveries.len() > 80, "{}", deliveries.len());
    for status in ["sent", "failed", "retry"] {
        assert!(deliveries.iter().any(|one| one["status"] == status), "none is {status}");
    }
    let of = |status: &str| deliveries.iter().find(|one| one["status"] == status).expect("one")["id"].clone();
    asked.send("POST", &format!("projects/p/deliveries/{}/replay", of("failed")), &json!({})).await.expect(200);
    asked.send("POST", "projects/p/deliveries/replay", &json!({ "uid": "gone", "new_key": true })).await.expect(200);
    asked.send("POST", &format!("projects/p/deliveries/{}/cancel", of("retry")), &json!({})).await.expect(200);
    asked.send("POST", "projects/p/runs/nosuch/push-notifications", &json!({})).await.expect(404);
    let task = asked.send("POST", "projects/p/runs/stored/push-notifications", &json!({})).await.expect(200).json();
    asked.server.client.until_so("projects/p/deliveries?page-size=1000", settled).await;

    // Tokens: from now on everybody needs one.
    let made =
        asked.server.client.send("POST", "tokens", &json!({ "name": "admin", "admin": true })).await.expect(201).json();
    let real = Hidden::given(
        "an access token",
        made["token"].as_str().expect("a token").rsplit_once('_').expect("a secret").1,
    );
    let admin = made["token"].as_str().expect("a token").to_owned();
    let wrong = format!("rbt_{}_{}", made["id"].as_str().expect("an id"), token.text);
    for path in ["tokens", "projects/p/runs", "backup", "metrics"] {
        let plain = || asked.server.client.request("GET", path);
        let query = asked.server.client.request("GET", &format!("{path}?token={admin}"));
        for request in [plain(), plain().bearer_auth(&wrong), plain().basic_auth("u", Some(&wrong)), query] {
            asked.raw(path, request).await.expect(401);
        }
    }
    let Asked { server, answers } = asked;
    let asked = Asked { server: server.with_token(&admin), answers };
    let scoped = asked
        .server
        .client
        .send("POST", "tokens", &json!({ "name": "ci", "projects": ["p"] }))
        .await
        .expect(201)
        .json();
    let scoped_token = Hidden::given(
        "a revoked token",
        scoped["token"].as_str().expect("a token").rsplit_once('_').expect("a secret").1,
    );
    asked.send("DELETE", &format!("tokens/{}", scoped["id"].as_str().expect("an id")), &json!(null)).await.expect(204);

    // Every answer there is to get.
    let described = asked.get("openapi.json").await.expect(200).json();
    let uids: Vec<String> =
        ["success", "redirect", "refused", "gone", "throttled", "broken", "closed", "garbage", "unreachable", "stored"]
            .map(str::to_owned)
            .into();
    let stored_alarms = asked.get("projects/_runbell/deliveries?page-size=1000").await.expect(200).json();
    let stored_alarms = stored_alarms["deliveries"].as_array().expect("a list").clone();
    assert!(!stored_alarms.is_empty());
    let mut walked = 0;
    for (path, item) in described["paths"].as_object().expect("paths") {
        if item.get("get").is_none() {
            continue;
        }
        let path = path.strip_prefix("/api/v1/").expect("below the base");
        for (project, uids, ids) in [
            ("p", &uids, &deliveries),
            ("_runbell", &vec![stored_alarms[0]["uid"].as_str().expect("a uid").to_owned()], &stored_alarms),
            ("q", &vec![], &vec![]),
        ] {
            let mut paths = vec![path.replace("{project}", project)];
            let spread = |paths: Vec<String>, name: &str, values: &[String]| -> Vec<String> {
                if !path.contains(name) {
                    return paths;
                }
                paths.iter().flat_map(|path| values.iter().map(|value| path.replace(name, value))).collect()
            };
            paths = spread(paths, "{uid}", uids);
            paths = spread(paths, "{id}", &ids.iter().map(|one| one["id"].to_string()).collect::<Vec<_>>());
            paths = spread(paths, "{name}", &[task["metadata"]["name"].as_str().expect("a name").to_owned()]);
            for path in paths {
                walked += 1;
                asked.get(&path).await;
                if path.ends_with("/runs") {
                    asked.get(&format!("{path}?with-notifications=true&page-size=1000")).await;
                }
            }
        }
    }
    assert!(walked > 100, "{walked}");

    let backup = asked.server.client.get("backup").await.expect(200).bytes;
    let live = files(&folder.path("store"));
    let Asked { server, answers } = asked;
    let log = server.stop().await;
    let at_rest = files(&folder.path("store"));

    let nowhere: Vec<&Hidden> = planted
        .secret()
        .into_iter()
        .chain(&operators)
        .chain([&named, &text, &stored_secret, &bad, &token, &real, &scoped_token])
        .collect();
    let all: Vec<&Hidden> = nowhere.iter().copied().chain(planted.open()).collect();
    let (nowhere, all) = (Search::of(nowhere), Search::of(all));
    // The log says something at all, of every part.
    for part in ["attempt recorded", "hyper", "tower_http"] {
        assert!(String::from_utf8_lossy(&log).contains(part), "{part}");
    }
    let mut leaks = all.leaks("the log", &log);
    for (what, answer) in answers.into_inner() {
        leaks.extend(nowhere.leaks(&what, &answer));
        let start = answer.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let json = start.and_then(|start| serde_json::from_slice::<Value>(&answer[start..]).ok());
        let left = json.map_or(answer, |json| without_params(json).to_string().into_bytes());
        if !what.ends_with("backup") {
            leaks.extend(all.leaks(&what, &left));
        }
    }
    leaks.extend(nowhere.leaks("the backup", &backup));
    let mut written = 0;
    for (path, bytes) in live.into_iter().chain(at_rest) {
        if path.extension().is_none_or(|ending| ending != "key") {
            leaks.extend(nowhere.leaks(&path.display().to_string(), &bytes));
            written += bytes.len();
        }
    }
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
    assert!(written > 500_000 && backup.len() > 100_000, "{written} {}", backup.len());
    // They were really used.
    let sent: Vec<String> = peers
        .iter()
        .flat_map(|(first, second)| [first.requests(), second.requests()])
        .flatten()
        .map(|request| format!("{} {:?}", request.path, request.headers))
        .collect();
    for one in [&planted.slack, &planted.url, &planted.git, &planted.living, &planted.open_url] {
        assert!(sent.iter().any(|request| request.contains(&one.text)), "{}", one.place);
    }
    assert!(alarms.requests().iter().any(|request| request.path.contains(&alarm_url.text)));
    assert!(target.requests().iter().any(|request| request.path.contains(&named.text)));
}
