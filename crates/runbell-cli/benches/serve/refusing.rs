//! Destinations that refuse connections, and one that swallows them.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use tokio::net::TcpSocket;

/// An address of the loopback network that refuses connections: bound, so that no other program can have it, but without
/// listening.
pub(crate) struct Refusing {
    socket: TcpSocket,
    address: SocketAddr,
}

impl Refusing {
    /// One port of one address. Not 127.0.0.1, from which the server's own connections come.
    pub(crate) fn one() -> Self {
        Self::at(Ipv4Addr::new(127, 77, 0, 1))
    }

    /// One port of every loopback address.
    pub(crate) fn everywhere() -> Self {
        Self::at(Ipv4Addr::UNSPECIFIED)
    }

    fn at(address: Ipv4Addr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from((address, 0))).expect("a port");
        let address = socket.local_addr().expect("an address");
        Refusing { socket, address }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// The URL of the loopback address with this number, below 10,000,000.
    pub(crate) fn url_at(&self, number: usize, path: &str) -> String {
        let digit = |divisor: usize| u8::try_from(number / divisor % 250).expect("below 250");
        let high = u8::try_from(64 + number / 62_500).expect("a number below 10,000,000");
        let host = Ipv4Addr::new(127, high, digit(250), 1 + digit(1));
        format!("http://{host}:{}/{path}", self.address.port())
    }

    /// Heals it: from now on connections are accepted.
    pub(crate) fn listen(self) -> TcpListener {
        let listener = self.socket.listen(1_024).expect("a listener");
        listener.into_std().expect("a listener")
    }
}

/// A destination that takes connections and never answers; once its backlog is full it does not even take connections.
pub(crate) struct BlackHole(TcpListener);

impl BlackHole {
    pub(crate) fn new() -> Self {
        BlackHole(TcpListener::bind("127.77.0.2:0").expect("a port"))
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.0.local_addr().expect("an address"))
    }
}
