//! What of the network a program may reach: nothing that was not granted. A grant names addresses and ports; connecting,
//! binding and sending ask for it with the address that the kernel would use in the end.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::errno::Errno;

/// Addresses and ports that a program may connect to, send to, and bind.
///
/// Written as `ADDR:PORTS` or `CIDR:PORTS`, version 6 in brackets; `PORTS` is a number, a range `LOW-HIGH`, or `*`. The word
/// `dns` grants asking the host's resolver for names, which is a way out of any set of addresses.
///
/// ```
/// use wasmc_wasi::NetGrant;
/// for text in ["127.0.0.1:8080", "10.0.0.0/8:80-443", "[::1]:*", "[2001:db8::/32]:53", "dns"] {
///     let grant: NetGrant = text.parse().unwrap();
///     assert_eq!(grant.to_string(), text);
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetGrant {
    /// Addresses that agree with `address` in the first `prefix` bits, with these ports.
    Addresses {
        /// The network's address.
        address: IpAddr,
        /// How many bits count.
        prefix: u8,
        /// Port 0 stands for one that the host chooses.
        ports: RangeInclusive<u16>,
    },
    /// Resolving names.
    Names,
}

impl NetGrant {
    fn allows(&self, wanted: SocketAddr) -> bool {
        let Self::Addresses { address, prefix, ports } = self else { return false };
        let same = match (address, wanted.ip()) {
            // A shift by all bits leaves nothing to compare.
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.to_bits() ^ other.to_bits()).checked_shr(32_u32.saturating_sub((*prefix).into())).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits()).checked_shr(128_u32.saturating_sub((*prefix).into())).unwrap_or(0) == 0
            }
            _ => false,
        };
        same && ports.contains(&wanted.port())
    }
}

impl FromStr for NetGrant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected ADDR:PORT, ADDR:LOW-HIGH, ADDR:* or CIDR in the place of ADDR, version 6 in brackets; or dns";
        if text == "dns" {
            return Ok(Self::Names);
        }
        let (network, ports) = text.rsplit_once(':').ok_or(EXPECTED)?;
        let network = match network.strip_prefix('[').map(|inner| inner.strip_suffix(']')) {
            Some(Some(inner)) if inner.contains(':') => inner,
            None if !network.contains(':') => network,
            _ => return Err(EXPECTED.into()),
        };
        let (address, prefix) = network.split_once('/').map_or((network, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| format!("`{address}` is no address; {EXPECTED}"))?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(prefix) => prefix
                .parse()
                .ok()
                .filter(|prefix| *prefix <= bits)
                .ok_or_else(|| format!("`/{prefix}` is no prefix length of 0 to {bits}"))?,
        };
        let port = |text: &str| text.parse::<u16>().map_err(|_| format!("`{text}` is no port; {EXPECTED}"));
        let ports = match ports.split_once('-') {
            _ if ports == "*" => 0..=u16::MAX,
            Some((low, high)) => port(low)?..=port(high)?,
            None => port(ports)?..=port(ports)?,
        };
        if ports.is_empty() {
            return Err(format!("the range of ports {}-{} is empty", ports.start(), ports.end()));
        }
        Ok(Self::Addresses { address, prefix, ports })
    }
}

impl fmt::Display for NetGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Addresses { address, prefix, ports } = self else { return f.write_str("dns") };
        let (open, close, bits) = if address.is_ipv4() { ("", "", 32) } else { ("[", "]", 128) };
        write!(f, "{open}{address}")?;
        if *prefix != bits {
            write!(f, "/{prefix}")?;
        }
        f.write_str(close)?;
        match (*ports.start(), *ports.end()) {
            (0, u16::MAX) => f.write_str(":*"),
            (low, high) if low == high => write!(f, ":{low}"),
            (low, high) => write!(f, ":{low}-{high}"),
        }
    }
}

/// All grants of a program.
#[derive(Default)]
pub(crate) struct NetPolicy(pub(crate) Vec<NetGrant>);

impl NetPolicy {
    /// Whether anything is granted. Without it, no socket is made.
    pub(crate) fn any(&self) -> bool {
        !self.0.is_empty()
    }

    pub(crate) fn names(&self) -> bool {
        self.0.contains(&NetGrant::Names)
    }

    fn check(&self, wanted: SocketAddr) -> Result<(), Errno> {
        // The kernel takes a version-4 address in version-6 form for what it means, and so must we.
        let wanted = SocketAddr::new(wanted.ip().to_canonical(), wanted.port());
        if self.0.iter().any(|grant| grant.allows(wanted)) { Ok(()) } else { Err(Errno::ACCES) }
    }

    /// Whether a socket may be bound there.
    pub(crate) fn check_bind(&self, address: SocketAddr) -> Result<(), Errno> {
        self.check(address)
    }

    /// Whether a connection may go there, or a message.
    pub(crate) fn check_peer(&self, address: SocketAddr) -> Result<(), Errno> {
        // Linux takes the address that means all of the host's for the host itself.
        let ip = match address.ip().to_canonical() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        self.check(SocketAddr::new(ip, address.port()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(grants: &[&str]) -> NetPolicy {
        NetPolicy(grants.iter().map(|grant| grant.parse().unwrap()).collect())
    }

    #[test]
    fn grants_are_bounds() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("127.0.0.1:80", &["127.0.0.1:80", "[::ffff:127.0.0.1]:80", "0.0.0.0:80"], &["127.0.0.1:81", "127.0.0.2:80", "[::1]:80"]),
            ("10.0.0.0/8:1000-2000", &["10.0.0.0:1000", "10.255.255.255:2000"], &["11.0.0.0:1000", "9.255.255.255:1500", "10.1.1.1:999"]),
            ("0.0.0.0/0:*", &["1.2.3.4:0", "255.255.255.255:65535"], &["[::1]:80", "[2001:db8::1]:1"]),
            ("[2001:db8::/32]:53", &["[2001:db8:ffff::1]:53"], &["[2001:db9::]:53", "1.2.3.4:53"]),
            ("[::/0]:*", &["[2001:db8::]:53", "[::]:1"], &["1.2.3.4:5", "[::ffff:1.2.3.4]:5"]),
            ("1.2.3.4/31:7", &["1.2.3.4:7", "1.2.3.5:7"], &["1.2.3.6:7", "1.2.3.3:7"]),
            ("dns", &[], &["127.0.0.1:53", "[::1]:53"]),
        ];
        for (grant, allowed, refused) in cases {
            let policy = policy(&[grant]);
            for address in *allowed {
                assert_eq!(policy.check_peer(address.parse().unwrap()), Ok(()), "{grant} {address}");
            }
            for address in *refused {
                assert_eq!(policy.check_peer(address.parse().unwrap()), Err(Errno::ACCES), "{grant} {address}");
            }
        }
        // To bind all addresses of the host is more than to bind one.
        assert_eq!(policy(&["127.0.0.1:80"]).check_bind("0.0.0.0:80".parse().unwrap()), Err(Errno::ACCES));
        assert_eq!(policy(&["0.0.0.0:80"]).check_bind("0.0.0.0:80".parse().unwrap()), Ok(()));
        assert_eq!(policy(&["0.0.0.0:80"]).check_peer("127.0.0.1:80".parse().unwrap()), Err(Errno::ACCES));
        assert!(policy(&["dns"]).names() && !policy(&["0.0.0.0/0:*"]).names() && !policy(&[]).any());
    }

    #[test]
    fn what_is_no_grant_is_refused() {
        for text in ["", "127.0.0.1", "127.0.0.1:", "::1:80", "[127.0.0.1]:80", "127.0.0.1/33:80", "[::1/129]:80", "1.2.3.4:9-8", "host:80"]
        {
            assert!(text.parse::<NetGrant>().is_err(), "{text}");
        }
    }
}
