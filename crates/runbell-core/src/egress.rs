//! The rules for target addresses. Pure.
//!
//! Users choose the targets of a server. Without rules they could reach addresses that only the server can reach: its
//! loopback, the private network, the cloud's metadata service. [`Egress::guarded`] refuses those.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;

use crate::context::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;

/// The environment variable that names a PEM file of certificate authorities to trust in addition to the system's.
pub const CA_FILE: &str = "RUNBELL_CA_FILE";

/// The rules for outgoing connections: allowed addresses, proxy, trusted authorities.
///
/// Set it for all kinds of a process with `cx.shared.set(Egress::guarded(…))` before senders are built. The default
/// allows every address, because the user of a local run can reach the network without Runbell too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Egress {
    guard: Option<Vec<IpNet>>,
    /// Under a guard: this machine itself may be reached without being listed.
    reaches_itself: bool,
    proxy: Option<Secret<String>>,
    ca: Option<Secret<Arc<str>>>,
}

/// Whether an address may be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It is allowed.
    Allowed,
    /// It is refused; the text names the type of address: "loopback", "private".
    Refused(&'static str),
}

impl Egress {
    /// Every address is allowed; the same as the default.
    pub fn open() -> Self {
        Egress::default()
    }

    /// Only public addresses are allowed, and those in `allow_networks`.
    ///
    /// Proxies of the environment are then ignored, because a proxy can reach addresses that the guard refuses;
    /// [`with_proxy`](Self::with_proxy) sets one deliberately.
    pub fn guarded(allow_networks: impl IntoIterator<Item = IpNet>) -> Self {
        Egress { guard: Some(allow_networks.into_iter().collect()), ..Egress::default() }
    }

    /// Allows this machine's own addresses too, though they are not listed. What answers there is not quoted.
    #[must_use]
    pub fn with_own_machine(mut self) -> Self {
        self.reaches_itself = true;
        self
    }

    /// Whether errors may quote what answers at this address. Under a guard only public addresses and listed networks: else a
    /// notification could be used to read a private network.
    pub fn may_quote(&self, address: IpAddr) -> bool {
        self.refused(address).is_none()
    }

    /// Sends every HTTP request through this proxy, regardless of the environment.
    ///
    /// Names are resolved by the proxy then, so under a guard only literal addresses and well-known names are
    /// checked here; the proxy must check all others. An invalid URL is reported when a client is built.
    #[must_use]
    pub fn with_proxy(mut self, url: &str) -> Self {
        self.proxy = Some(Secret::new(url.trim().to_owned()));
        self
    }

    /// Trusts these certificate authorities too, given as PEM text. A text without certificates is reported when
    /// a client is built.
    #[must_use]
    pub fn with_ca(mut self, pem: &str) -> Self {
        self.ca = Some(Secret::new(pem.into()));
        self
    }

    /// The proxy that was set deliberately.
    pub fn proxy(&self) -> Option<&str> {
        self.proxy.as_ref().map(|url| url.reveal().as_str())
    }

    /// The authorities to trust besides the system's: those set here and those in the file that `RUNBELL_CA_FILE`
    /// names. PEM text, empty when there are none.
    ///
    /// # Errors
    /// [`ErrorKind::ParamsInvalid`] when the file cannot be read.
    pub fn authorities(&self, env: &dyn Env) -> Result<String> {
        let mut pem = self.ca.as_ref().map(|pem| pem.reveal().to_string()).unwrap_or_default();
        if let Some(path) = env.var(CA_FILE).filter(|path| !path.trim().is_empty()) {
            let text = env.read_file(path.trim()).map_err(|error| {
                let what = match error.kind() {
                    std::io::ErrorKind::NotFound => "does not exist".to_owned(),
                    kind => format!("cannot be read: {kind}"),
                };
                Error::new(ErrorKind::ParamsInvalid, format!("{CA_FILE}: the file it names {what}"))
            })?;
            pem.push('\n');
            pem.push_str(&text);
        }
        Ok(pem)
    }

    /// Whether some addresses are refused.
    pub fn is_guarded(&self) -> bool {
        self.guard.is_some()
    }

    /// Decides about the address that is really connected to.
    ///
    /// An IPv6 address that carries an IPv4 one (mapped, compatible, NAT64, 6to4) has the type of the carried one.
    pub fn decide(&self, address: IpAddr) -> Decision {
        let is_own = self.reaches_itself && bare(address).is_loopback();
        self.refused(address).filter(|_| !is_own).map_or(Decision::Allowed, Decision::Refused)
    }

    /// Why a guard refuses an address that is not listed; `None` when it does not.
    fn refused(&self, address: IpAddr) -> Option<&'static str> {
        let allowed = self.guard.as_ref()?;
        let bare = bare(address);
        if allowed.iter().any(|network| network.contains(&address) || network.contains(&bare)) {
            return None;
        }
        match bare {
            IpAddr::V4(v4) => special_v4(v4),
            IpAddr::V6(v6) => special_v6(v6),
        }
    }

    /// The allowed addresses among those a name resolved to.
    ///
    /// # Errors
    /// [`ErrorKind::ParamsInvalid`] when there are addresses and all are refused.
    pub fn filter<A>(&self, found: impl IntoIterator<Item = A>, ip: impl Fn(&A) -> IpAddr) -> Result<Vec<A>> {
        let mut refused = None;
        let mut allowed = Vec::new();
        for address in found {
            match self.decide(ip(&address)) {
                Decision::Allowed => allowed.push(address),
                Decision::Refused(what) => drop(refused.get_or_insert(what)),
            }
        }
        match refused {
            Some(what) if allowed.is_empty() => Err(Error::new(ErrorKind::ParamsInvalid, refusal(what))),
            _ => Ok(allowed),
        }
    }

    /// Decides about a host as far as that is possible without resolving names: an address in its usual form, in
    /// brackets or not, or a name.
    ///
    /// # Errors
    /// The text of a finding when it is refused.
    pub fn check_host(&self, host: &str) -> Result<(), String> {
        if !self.is_guarded() {
            return Ok(());
        }
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        match bare.parse().map_or_else(|_| self.decide_name(host), |address| self.decide(address)) {
            Decision::Allowed => Ok(()),
            Decision::Refused(what) => Err(refusal(what)),
        }
    }

    fn decide_name(&self, name: &str) -> Decision {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let known = match name.as_str() {
            "localhost.localdomain" | "ip6-localhost" | "ip6-loopback" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            "metadata.google.internal"
            | "metadata.goog"
            | "metadata"
            | "instance-data"
            | "instance-data.ec2.internal" => IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
            // RFC 6761: everything below `localhost` is this machine.
            name if name == "localhost" || name.ends_with(".localhost") => IpAddr::V4(Ipv4Addr::LOCALHOST),
            _ => return Decision::Allowed,
        };
        match (self.decide(known), known.is_loopback()) {
            // Rules that allow only `::1` allow `localhost` too; the resolver drops the other address.
            (Decision::Refused(_), true) => self.decide(IpAddr::V6(Ipv6Addr::LOCALHOST)),
            (decision, _) => decision,
        }
    }
}

/// The text for a refused target. It names no host, because the host is part of a secret URL.
fn refusal(what: &str) -> String {
    format!("the target's address is {what}, which is not allowed here; `allow_networks` can list its network")
}

/// The IPv4 address that an IPv6 one carries, else the address itself.
fn bare(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => carried(v6).map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// The IPv4 address inside an IPv6 one.
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = address.segments();
    let v4 = |high: u16, low: u16| Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match s {
        // Unspecified and loopback only look like compatible addresses.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        // Compatible `::a.b.c.d`, mapped `::ffff:a.b.c.d`, translated `::ffff:0:a.b.c.d` (RFC 4291, RFC 6145).
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => v4(high, low),
        // NAT64 `64:ff9b::/96` (RFC 6052).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        // 6to4 `2002::/16` (RFC 3056).
        [0x2002, high, low, ..] => v4(high, low),
        _ => None,
    }
}

/// The type of a special address, by the IANA registry of special-purpose addresses.
fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    Some(match address.octets() {
        // AWS, Google, Azure and others; Alibaba; Azure's wire server, which is a public address.
        [169, 254, 169, 254] | [100, 100, 100, 200] | [168, 63, 129, 16] => "a cloud's metadata service",
        [0, 0, 0, 0] => "unspecified",
        [0, ..] => "reserved",
        [127, ..] => "loopback",
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => "private",
        [100, 64..=127, ..] => "carrier-grade NAT",
        [169, 254, ..] => "link-local",
        [192, 0, 0, _] | [192, 88, 99, _] => "reserved",
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => "for documentation",
        [198, 18 | 19, ..] => "for benchmarks",
        [224..=239, ..] => "multicast",
        [255, 255, 255, 255] => "broadcast",
        [240..=255, ..] => "reserved",
        _ => return None,
    })
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    Some(match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => "unspecified",
        [0, 0, 0, 0, 0, 0, 0, 1] => "loopback",
        // AWS and Google.
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] => "a cloud's metadata service",
        [0xfc00..=0xfdff, ..] => "private",
        [0xfe80..=0xfebf, ..] => "link-local",
        // Site-local, deprecated by RFC 3879, still routed by some.
        [0xfec0..=0xfeff, ..] => "private",
        [0xff00..=0xffff, ..] => "multicast",
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0x0fff, ..] => "for documentation",
        [0x2001, 2, 0, ..] => "for benchmarks",
        // Locally used NAT64 (RFC 8215) leads into a network of its own.
        [0x64, 0xff9b, 1, ..] => "private",
        // Teredo, discard, ORCHID, segment routing, and everything outside global unicast.
        [0x2001, 0..=0x01ff, ..] | [0x100, 0, 0, 0, ..] | [0x5f00, ..] => "reserved",
        [0x2000..=0x3fff, ..] => return None,
        _ => "reserved",
    })
}
