//! The name that a client gives in EHLO.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lettre::transport::smtp::extension::ClientId;
use tokio::net::UdpSocket;

use crate::address::is_domain;

/// The name of this machine for a connection to `server`: its fully qualified name if it has one, else the address literal of
/// the connection's own side (RFC 5321 section 4.1.4). Names of containers are often no valid host names, and many servers
/// refuse those, and names without a domain.
pub(crate) async fn of_this_machine(server: SocketAddr) -> ClientId {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if is_qualified(&name) {
        return ClientId::Domain(name);
    }
    literal(own_address(server).await)
}

/// Whether a name has a domain and is a valid host name.
fn is_qualified(name: &str) -> bool {
    let last = name.rsplit_once('.').map(|(_, last)| last);
    is_domain(name) && last.is_some_and(|last| !last.chars().all(|c| c.is_ascii_digit()))
}

fn literal(address: IpAddr) -> ClientId {
    match address.to_canonical() {
        IpAddr::V4(four) => ClientId::Ipv4(four),
        IpAddr::V6(six) => ClientId::Ipv6(six),
    }
}

/// The address from which this machine reaches `server`. Nothing is sent to find it out.
async fn own_address(server: SocketAddr) -> IpAddr {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let routed = async {
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(server).await?;
        socket.local_addr()
    };
    let loopback = if server.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    routed.await.map_or(loopback, |own| own.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_fully_qualified_name_is_given() {
        let long = format!("{}.example.com", "a".repeat(300));
        let label = format!("{}.example.com", "a".repeat(64));
        for (name, expected) in [
            ("build-7.corp.example", true),
            ("3f2a9c1d.ci", true),
            ("3f2a9c1d", false),
            ("localhost", false),
            ("my_job_1", false),
            ("my_job_1.corp.example", false),
            ("-x.corp.example", false),
            ("x-.corp.example", false),
            ("-x", false),
            ("", false),
            (".", false),
            ("a..b", false),
            ("a.b.", false),
            ("10.0.0.7", false),
            ("büro.example", false),
            ("a b.example", false),
            (&long, false),
            (&label, false),
        ] {
            assert_eq!(is_qualified(name), expected, "{name}");
        }
    }

    #[tokio::test]
    async fn else_the_literal_of_the_own_side() {
        let own = |server: &'static str| async move { literal(own_address(server.parse().expect("an address")).await) };
        assert_eq!(own("127.0.0.1:25").await.to_string(), "[127.0.0.1]");
        if UdpSocket::bind("[::1]:0").await.is_ok() {
            assert_eq!(own("[::1]:25").await.to_string(), "[IPv6:::1]");
        }
        assert_eq!(literal("::ffff:192.0.2.7".parse().expect("an address")).to_string(), "[192.0.2.7]");
    }
}
