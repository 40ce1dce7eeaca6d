//! The HTTP routes that bot libraries ask before they log in.

use serde_json::json;

use crate::core::Core;
use crate::guild;

/// A request of the HTTP API.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// The path without the query.
    pub path: &'a str,
    /// The value of the `Authorization` header.
    pub authorization: Option<&'a str>,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The JSON body; empty when there is none.
    pub body: String,
}

impl Core {
    /// Answers a request of the HTTP API.
    ///
    /// ```
    /// # use std::time::Instant;
    /// use voice_server::{Core, CoreConfig, Request};
    ///
    /// # #[expect(clippy::disallowed_methods, reason = "the caller owns the clock")]
    /// # let now = Instant::now();
    /// let core = Core::new(now, CoreConfig::default(), [7; 32]);
    /// let request = Request {
    ///     method: "GET",
    ///     path: "/api/v10/gateway/bot",
    ///     authorization: Some("Bot secret"),
    /// };
    /// assert_eq!(core.handle_request(request).status, 200);
    /// assert_eq!(core.handle_request(Request { authorization: None, ..request }).status, 401);
    /// ```
    #[must_use]
    pub fn handle_request(&self, request: Request<'_>) -> Response {
        let route = request.path.strip_prefix("/api").unwrap_or(request.path);
        // A version prefix may be missing: the default version is used then.
        let route = match route.strip_prefix("/v").and_then(|rest| rest.split_once('/')) {
            Some((version, rest)) if version.bytes().all(|b| b.is_ascii_digit()) => rest,
            _ => route.trim_start_matches('/'),
        };
        if request.method != "GET" {
            return refusal(405, "405: Method Not Allowed");
        }
        let url = &self.config.gateway_url;
        if route == "gateway" {
            return ok(&json!({ "url": url }));
        }
        let Some(user) = request.authorization.and_then(|token| self.config.bots.user(token)) else {
            return refusal(401, "401: Unauthorized");
        };
        match route {
            "gateway/bot" => ok(&json!({
                "url": url,
                "shards": 1,
                "session_start_limit": {
                    "total": 1_000,
                    "remaining": 1_000,
                    "reset_after": 86_400_000,
                    "max_concurrency": 1,
                },
            })),
            "users/@me" => ok(&guild::user(user)),
            "applications/@me" | "oauth2/applications/@me" => ok(&guild::application(user)),
            _ => refusal(404, "404: Not Found"),
        }
    }
}

fn ok(body: &serde_json::Value) -> Response {
    Response { status: 200, body: body.to_string() }
}

/// An error in the form of the API: Discord docs, Reference, "Error Messages".
fn refusal(status: u16, message: &str) -> Response {
    Response { status, body: json!({ "message": message, "code": 0 }).to_string() }
}
