//! What a request path asks for.

/// Where a WebSocket wants to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// The main gateway.
    Gateway,
    /// The voice gateway in this version.
    Voice {
        /// The version, 4 to 9.
        version: u8,
    },
}

impl Route {
    /// Reads the path and query of a request.
    ///
    /// # Errors
    ///
    /// Returns [`RouteError::Version`] when the voice gateway's version is missing or not one of
    /// 4 to 9, and [`RouteError::Compression`] when a compression of the main gateway is asked for.
    ///
    /// ```
    /// use voice_server::{Route, RouteError};
    ///
    /// assert_eq!(Route::parse("/?v=8"), Ok(Route::Voice { version: 8 }));
    /// assert_eq!(Route::parse("/gateway/?v=10&encoding=json"), Ok(Route::Gateway));
    /// assert_eq!(Route::parse("/"), Err(RouteError::Version));
    /// ```
    pub fn parse(target: &str) -> Result<Self, RouteError> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let value = |key: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(name, _)| *name == key).map(|(_, value)| value)
        };
        if path == GATEWAY_PATH || path.strip_prefix(GATEWAY_PATH).is_some_and(|p| p.starts_with('/')) {
            return match (value("compress"), value("encoding")) {
                (None, None | Some("json")) => Ok(Self::Gateway),
                _ => Err(RouteError::Compression),
            };
        }
        let version = value("v").and_then(|v| v.parse().ok());
        version
            .filter(|version| VERSIONS.contains(version))
            .map(|version| Self::Voice { version })
            .ok_or(RouteError::Version)
    }
}

/// Why a request path leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RouteError {
    /// The voice gateway's version is missing or unknown.
    Version,
    /// A transport compression or encoding the server does not speak.
    Compression,
}

impl core::fmt::Display for RouteError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Version => "the voice gateway version is missing or unknown",
            Self::Compression => "only uncompressed JSON is spoken here",
        })
    }
}

impl core::error::Error for RouteError {}

/// The path of the main gateway.
pub(crate) const GATEWAY_PATH: &str = "/gateway";

/// The voice gateway versions that work: Discord docs, Voice Connections, "Voice Gateway
/// Versioning Reference"; versions before 4 are refused since November 2024.
const VERSIONS: core::ops::RangeInclusive<u8> = 4..=9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voice_versions_four_to_nine_are_known() {
        for version in 4..=9 {
            let expected = Ok(Route::Voice { version });
            assert_eq!(Route::parse(&format!("/?v={version}")), expected);
            assert_eq!(Route::parse(&format!("?v={version}")), expected);
            assert_eq!(Route::parse(&format!("/?x=1&v={version}&y")), expected);
        }
        for target in ["/", "/?v=3", "/?v=10", "/?v=", "/?v=x", "/?w=8", "/?v=-8", "/?v=999"] {
            assert_eq!(Route::parse(target), Err(RouteError::Version), "{target}");
        }
    }

    #[test]
    fn the_main_gateway_is_found_with_and_without_a_slash() {
        for target in ["/gateway", "/gateway/", "/gateway?v=10", "/gateway/?v=10&encoding=json"] {
            assert_eq!(Route::parse(target), Ok(Route::Gateway), "{target}");
        }
        assert_eq!(Route::parse("/gateways"), Err(RouteError::Version));
        let compressed = Route::parse("/gateway/?v=10&compress=zlib-stream");
        assert_eq!(compressed, Err(RouteError::Compression));
    }
}
