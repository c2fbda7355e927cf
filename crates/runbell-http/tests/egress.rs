//! Which addresses may be written to.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::net::IpAddr;

use runbell_core::{BuildContext, Decision, Egress, Findings, IpNet};
use runbell_http::{Client, HttpOptions, TargetUrl};
use runbell_testkit::TestContext;

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn networks(all: &[&str]) -> Vec<IpNet> {
    all.iter().map(|one| one.parse().expect("a network")).collect()
}

/// Addresses and what a guard calls them; `None` is allowed.
const ADDRESSES: &[(&str, Option<&str>)] = &[
    // Public.
    ("1.1.1.1", None),
    ("8.8.8.8", None),
    ("93.184.216.34", None),
    ("9.255.255.255", None),
    ("11.0.0.0", None),
    ("100.63.255.255", None),
    ("100.128.0.0", None),
    ("126.255.255.255", None),
    ("128.0.0.1", None),
    ("168.63.129.15", None),
    ("169.253.255.255", None),
    ("172.15.255.255", None),
    ("172.32.0.0", None),
    ("192.0.1.1", None),
    ("192.167.255.255", None),
    ("192.169.0.0", None),
    ("198.17.255.255", None),
    ("198.20.0.0", None),
    ("223.255.255.255", None),
    ("2606:4700:4700::1111", None),
    ("2a00:1450:4001:80b::200e", None),
    ("2001:4860:4860::8888", None),
    // IPv4.
    ("0.0.0.0", Some("unspecified")),
    ("0.1.2.3", Some("reserved")),
    ("127.0.0.1", Some("loopback")),
    ("127.255.255.254", Some("loopback")),
    ("10.0.0.0", Some("private")),
    ("10.255.255.255", Some("private")),
    ("172.16.0.0", Some("private")),
    ("172.31.255.255", Some("private")),
    ("192.168.0.1", Some("private")),
    ("100.64.0.0", Some("carrier-grade NAT")),
    ("100.127.255.255", Some("carrier-grade NAT")),
    ("169.254.0.1", Some("link-local")),
    ("169.254.169.254", Some("a cloud's metadata service")),
    ("100.100.100.200", Some("a cloud's metadata service")),
    ("168.63.129.16", Some("a cloud's metadata service")),
    ("192.0.0.192", Some("reserved")),
    ("192.0.2.1", Some("for documentation")),
    ("198.51.100.7", Some("for documentation")),
    ("203.0.113.255", Some("for documentation")),
    ("192.88.99.1", Some("reserved")),
    ("198.18.0.1", Some("for benchmarks")),
    ("198.19.255.255", Some("for benchmarks")),
    ("224.0.0.1", Some("multicast")),
    ("239.255.255.255", Some("multicast")),
    ("240.0.0.1", Some("reserved")),
    ("255.255.255.255", Some("broadcast")),
    // IPv6.
    ("::", Some("unspecified")),
    ("::1", Some("loopback")),
    ("fc00::1", Some("private")),
    ("fdff:ffff::1", Some("private")),
    ("fd00:ec2::254", Some("a cloud's metadata service")),
    ("fd20:ce::254", Some("a cloud's metadata service")),
    ("fe80::1", Some("link-local")),
    ("febf::1", Some("link-local")),
    ("fec0::1", Some("private")),
    ("ff02::1", Some("multicast")),
    ("2001:db8::1", Some("for documentation")),
    ("3fff:fff::1", Some("for documentation")),
    ("2001:2::1", Some("for benchmarks")),
    ("2001:0:4136:e378:8000:63bf:3fff:fdd2", Some("reserved")),
    ("2001:10::1", Some("reserved")),
    ("100::1", Some("reserved")),
    ("5f00::1", Some("reserved")),
    ("4000::1", Some("reserved")),
    // An IPv4 address inside an IPv6 one is what it is by itself.
    ("::ffff:127.0.0.1", Some("loopback")),
    ("::ffff:10.1.2.3", Some("private")),
    ("::ffff:169.254.169.254", Some("a cloud's metadata service")),
    ("::ffff:8.8.8.8", None),
    ("::127.0.0.1", Some("loopback")),
    ("::ffff:0:192.168.1.1", Some("private")),
    ("64:ff9b::127.0.0.1", Some("loopback")),
    ("64:ff9b::8.8.8.8", None),
    ("64:ff9b:1::8.8.8.8", Some("private")),
    ("2002:7f00:1::1", Some("loopback")),
    ("2002:c0a8:101::1", Some("private")),
    ("2002:808:808::1", None),
];

#[test]
fn a_guard_refuses_addresses_that_only_this_machine_can_reach() {
    let guarded = Egress::guarded([]);
    for (text, expected) in ADDRESSES {
        let decision = expected.map_or(Decision::Allowed, Decision::Refused);
        assert_eq!(guarded.decide(address(text)), decision, "{text}");
        assert_eq!(Egress::open().decide(address(text)), Decision::Allowed, "{text}");
    }
}

#[test]
fn listed_networks_are_allowed() {
    let some = Egress::guarded(networks(&["10.1.0.0/16", "127.0.0.1/32", "fd12::/16"]));
    for (text, allowed) in [
        ("10.1.2.3", true),
        ("::ffff:10.1.2.3", true),
        ("10.2.0.1", false),
        ("127.0.0.1", true),
        ("127.0.0.2", false),
        ("::1", false),
        ("fd12::5", true),
        ("fd13::5", false),
        ("169.254.169.254", false),
        ("8.8.8.8", true),
    ] {
        assert_eq!(some.decide(address(text)) == Decision::Allowed, allowed, "{text}");
    }
    assert_eq!(Egress::guarded(networks(&["0.0.0.0/0"])).decide(address("169.254.169.254")), Decision::Allowed);
}

fn fault(egress: Egress, url: &str) -> Option<String> {
    let cx = BuildContext::server();
    cx.shared.set(egress);
    let mut found = Findings::default();
    TargetUrl::new(url).validate("url", &cx, &mut found);
    found.faults().next().map(ToString::to_string)
}

#[test]
fn literal_addresses_and_known_names_are_refused_before_anything_is_sent() {
    for (url, what) in [
        ("http://127.0.0.1/CANARY", "loopback"),
        ("http://127.1/CANARY", "loopback"),
        ("http://0x7f000001/CANARY", "loopback"),
        ("http://0177.0.0.1/CANARY", "loopback"),
        ("http://2130706433/CANARY", "loopback"),
        ("http://127.0.0.1./CANARY", "loopback"),
        ("http://①②⑦.0.0.1/CANARY", "loopback"),
        ("http://[::1]:8080/CANARY", "loopback"),
        ("http://[::ffff:127.0.0.1]/CANARY", "loopback"),
        ("http://[::ffff:7f00:1]/CANARY", "loopback"),
        ("http://user:pw@10.0.0.5/CANARY", "private"),
        ("http://0/CANARY", "unspecified"),
        ("http://169.254.169.254/latest/CANARY", "a cloud's metadata service"),
        ("http://localhost/CANARY", "loopback"),
        ("http://LOCALHOST./CANARY", "loopback"),
        ("http://a.b.localhost/CANARY", "loopback"),
        ("http://metadata.google.internal/CANARY", "a cloud's metadata service"),
    ] {
        let said = fault(Egress::guarded([]), url).expect(url);
        let expected = format!(
            "url: the target's address is {what}, which is not allowed here; `allow_networks` can list its network"
        );
        assert_eq!(said, expected, "{url}");
        assert_eq!(fault(Egress::open(), url), None, "{url}");
    }
    for url in ["https://hooks.example/x", "http://1.1.1.1/", "http://[2606:4700::1]/", "http://localhost.example/"] {
        assert_eq!(fault(Egress::guarded([]), url), None, "{url}");
    }
    assert_eq!(fault(Egress::guarded(networks(&["127.0.0.0/8"])), "http://localhost/"), None);
    assert_eq!(fault(Egress::guarded(networks(&["::1/128"])), "http://localhost/"), None);
}

#[test]
fn explicit_settings_are_checked_when_a_client_is_built() {
    let build = |egress: Egress| {
        let cx = TestContext::server().build();
        cx.shared.set(egress);
        Client::new(&cx, &HttpOptions::default())
    };
    assert!(build(Egress::guarded([]).with_proxy("http://proxy.example:3128")).is_ok());
    for (egress, said) in [
        (Egress::open().with_proxy("socks5://CANARY"), "proxy: must be an http or https URL"),
        (Egress::open().with_proxy("http://["), "proxy: must be an http or https URL"),
        (Egress::open().with_ca("CANARY"), "ca: holds no certificate in PEM form"),
        (
            Egress::open().with_ca("-----BEGIN CERTIFICATE-----\nQ0FOQVJZ\n-----END CERTIFICATE-----"),
            "ca: holds a malformed certificate",
        ),
    ] {
        assert_eq!(build(egress).expect_err(said).to_string(), said);
    }
    let secret = Egress::open().with_proxy("http://user:CANARY@proxy.example");
    assert!(!format!("{secret:?}").contains("CANARY"));
}

#[test]
fn what_answers_on_the_own_machine_is_not_quoted_unless_it_is_listed() {
    let address = |text: &str| text.parse::<std::net::IpAddr>().expect("an address");
    let listed = |network: &str| Egress::guarded([network.parse().expect("a network")]).with_own_machine();
    for (egress, ip, allowed, quoted) in [
        (Egress::open(), "127.0.0.1", true, true),
        (Egress::guarded([]), "93.184.216.34", true, true),
        (Egress::guarded([]), "127.0.0.1", false, false),
        (Egress::guarded([]).with_own_machine(), "127.0.0.1", true, false),
        (Egress::guarded([]).with_own_machine(), "::ffff:127.0.0.1", true, false),
        (Egress::guarded([]).with_own_machine(), "::1", true, false),
        (Egress::guarded([]).with_own_machine(), "10.0.0.1", false, false),
        (listed("127.0.0.0/8"), "127.0.0.1", true, true),
        (listed("10.0.0.0/8"), "10.0.0.1", true, true),
    ] {
        let is_allowed = egress.decide(address(ip)) == runbell_core::Decision::Allowed;
        assert_eq!((is_allowed, egress.may_quote(address(ip))), (allowed, quoted), "{egress:?} {ip}");
    }
}
