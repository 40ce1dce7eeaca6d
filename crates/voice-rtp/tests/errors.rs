//! Errors say what is wrong, each in its own words, and do not depend on the input.

use std::collections::BTreeSet;
use std::error::Error;

use voice_rtp::ParseError;
use voice_rtp::discovery::{RequestError, ResponseError};

#[test]
fn every_error_has_a_text_of_its_own() {
    let errors: [&dyn Error; 17] = [
        &ParseError::TooShort,
        &ParseError::BadVersion,
        &ParseError::CsrcOverrun,
        &ParseError::ExtensionPreambleOverrun,
        &ParseError::ExtensionOverrun,
        &ParseError::PaddingZero,
        &ParseError::PaddingOverrun,
        &RequestError::Size,
        &RequestError::Type,
        &RequestError::LengthField,
        &ResponseError::Size,
        &ResponseError::Type,
        &ResponseError::LengthField,
        &ResponseError::Ssrc,
        &ResponseError::NoTerminator,
        &ResponseError::Address,
        &ResponseError::Port,
    ];
    let texts: BTreeSet<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), errors.len());
    for text in texts {
        assert!(text.starts_with(|c: char| c.is_ascii_lowercase()) && !text.ends_with('.'), "{text}");
    }
    assert!(errors.iter().all(|error| error.source().is_none()));
}
