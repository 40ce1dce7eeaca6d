//! Who may ask at all: pages in a browser on this machine may not.

use std::net::IpAddr;

/// What a request must not say, so that no web page reaches a server that listens on loopback only.
///
/// A browser sends an `Origin` with every WebSocket and with every request of a page to another origin; clients of voice
/// gateways send none. With what a page may not read it sends none either, but says that another site asks
/// (`Sec-Fetch-Site`). A page whose own name was made to mean this machine ("DNS rebinding") need not send one, but names
/// itself in `Host`.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    /// Those that are let in, as a browser writes them.
    pub(crate) origins: Vec<String>,
    /// The port of a server that can only be reached as this machine itself.
    pub(crate) loopback: Option<Loopback>,
}

/// Where a server on loopback listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loopback {
    pub(crate) port: u16,
    /// The one that need not be written.
    pub(crate) default_port: u16,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// It comes from a page that is not let in.
    Origin,
    /// It is for another host.
    Host,
}

impl Door {
    /// Looks at every `Origin`, every `Sec-Fetch-Site` and every host of a request, that of its target included.
    pub(crate) fn check<'a>(
        &self,
        origins: impl IntoIterator<Item = &'a [u8]>,
        sites: impl IntoIterator<Item = &'a [u8]>,
        hosts: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(), Stranger> {
        let is_known = |origin: &[u8]| self.origins.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(origin));
        let mut origins = origins.into_iter().peekable();
        // A page that says who it is may be of another site.
        let is_from_here = origins.peek().is_some() || sites.into_iter().all(|site| OWN_SITES.contains(&site));
        if !is_from_here || !origins.all(is_known) {
            return Err(Stranger::Origin);
        }
        let Some(loopback) = self.loopback else { return Ok(()) };
        let mut hosts = hosts.into_iter().peekable();
        if hosts.peek().is_some() && hosts.all(|host| loopback.is_meant_by(host)) {
            Ok(())
        } else {
            Err(Stranger::Host)
        }
    }
}

/// What a browser says of a request that no page made, or one of the server itself: Fetch Metadata Request Headers,
/// section 2.4.
const OWN_SITES: [&[u8]; 2] = [b"none", b"same-origin"];

impl Loopback {
    /// Whether this is a literal address of this machine, or `localhost`, with the port. A name that only begins so is not.
    fn is_meant_by(self, host: &[u8]) -> bool {
        let Ok(host) = str::from_utf8(host) else { return false };
        // An IPv6 address is in brackets, and has colons of its own.
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => (name, port.parse().ok()),
            _ => (host, Some(self.default_port)),
        };
        let address = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
            Some(name) => name.parse().map(IpAddr::V6).ok(),
            None => name.parse().map(IpAddr::V4).ok(),
        };
        let is_here = address.map_or_else(|| name.eq_ignore_ascii_case("localhost"), |address| address.is_loopback());
        is_here && port == Some(self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(origins: &[&str]) -> Door {
        let loopback = Some(Loopback { port: 9000, default_port: 80 });
        Door { origins: origins.iter().map(|&origin| origin.to_owned()).collect(), loopback }
    }

    fn check(door: &Door, origins: &[&str], hosts: &[&str]) -> Result<(), Stranger> {
        door.check(origins.iter().map(|it| it.as_bytes()), [], hosts.iter().map(|it| it.as_bytes()))
    }

    #[test]
    fn only_this_machine_by_its_own_names_is_let_in() {
        let door = door(&[]);
        for host in ["127.0.0.1:9000", "127.8.9.1:9000", "localhost:9000", "LocalHost:9000", "[::1]:9000"] {
            assert_eq!(check(&door, &[], &[host]), Ok(()), "{host}");
        }
        for host in [
            "",
            ":",
            ":9000",
            "evil.test:9000",
            "127.evil.test:9000",
            "127.0.0.1.evil.test:9000",
            "localhost.evil.test:9000",
            "evil.test",
            "127.0.0.1",
            "localhost",
            "127.0.0.1:80",
            "127.0.0.1:90000",
            "127.0.0.1:",
            "192.168.0.1:9000",
            "0.0.0.0:9000",
            "[::]:9000",
            "[::1]",
            "::1:9000",
            "[::1:9000",
            "127.0.0.1:9000:9000",
            "user@127.0.0.1:9000",
            "127.0.0.1:9000 evil.test",
            "[127.0.0.1]:9000",
            "2130706433:9000",
            "0x7f.1:9000",
            "\u{201c}localhost\u{201d}:9000",
        ] {
            assert_eq!(check(&door, &[], &[host]), Err(Stranger::Host), "{host}");
        }
        assert_eq!(check(&door, &[], &[]), Err(Stranger::Host), "no host at all");
        assert_eq!(
            check(&door, &[], &["127.0.0.1:9000", "evil.test:9000"]),
            Err(Stranger::Host),
            "each of them counts"
        );
        let at_80 = Door { loopback: Some(Loopback { port: 80, default_port: 80 }), ..door };
        assert_eq!(check(&at_80, &[], &["localhost"]), Ok(()));
        assert_eq!(check(&at_80, &[], &["[::1]"]), Ok(()));
    }

    #[test]
    fn a_page_is_let_in_only_if_its_origin_is_named() {
        let here = &["127.0.0.1:9000"];
        for origin in
            ["http://evil.test", "http://127.0.0.1:9000", "https://localhost", "null", "", "http://ours.test.evil"]
        {
            assert_eq!(check(&door(&[]), &[origin], here), Err(Stranger::Origin), "{origin}");
            assert_eq!(check(&door(&["http://ours.test"]), &[origin], here), Err(Stranger::Origin), "{origin}");
        }
        let door = door(&["http://ours.test", "http://127.0.0.1:7800"]);
        assert_eq!(check(&door, &["http://ours.test"], here), Ok(()));
        assert_eq!(check(&door, &["HTTP://127.0.0.1:7800"], here), Ok(()));
        assert_eq!(check(&door, &["http://ours.test", "http://evil.test"], here), Err(Stranger::Origin));
        assert_eq!(check(&door, &["http://ours.test"], &["evil.test:9000"]), Err(Stranger::Host));
    }

    #[test]
    fn a_page_that_does_not_name_its_origin_is_known_by_its_site() {
        let door = door(&["http://ours.test"]);
        let check = |origins: &[&'static [u8]], sites: &[&'static [u8]]| {
            let here: [&[u8]; 1] = [b"127.0.0.1:9000"];
            door.check(origins.iter().copied(), sites.iter().copied(), here)
        };
        assert_eq!(check(&[], &[b"none"]), Ok(()), "an address that a person typed");
        assert_eq!(check(&[], &[b"same-origin"]), Ok(()));
        assert_eq!(check(&[b"http://ours.test"], &[b"cross-site"]), Ok(()));
        for sites in [&[b"cross-site" as &[u8]] as &[&[u8]], &[b"same-site"], &[b""], &[b"none", b"cross-site"]] {
            assert_eq!(check(&[], sites), Err(Stranger::Origin), "{sites:?}");
        }
        assert_eq!(check(&[b"http://evil.test"], &[b"none"]), Err(Stranger::Origin));
    }

    #[test]
    fn a_server_on_other_addresses_has_any_name_and_no_page_all_the_same() {
        let door = Door { origins: Vec::new(), loopback: None };
        assert_eq!(check(&door, &[], &["voice.example:443"]), Ok(()));
        assert_eq!(check(&door, &[], &[]), Ok(()));
        assert_eq!(check(&door, &["http://evil.test"], &["voice.example"]), Err(Stranger::Origin));
    }
}
