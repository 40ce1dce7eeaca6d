//! Welcomes and the external sender.

use super::{
    ErrorKind, WireError,
    reader::{Reader, write_vector},
};

/// The way into a group for those whom a commit adds (RFC 9420, section 12.4.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Welcome<'a> {
    /// The cipher suite; [`CIPHER_SUITE`](super::CIPHER_SUITE) in a call.
    pub cipher_suite: u16,
    /// One entry for each who is added.
    pub secrets: Secrets<'a>,
    /// What all of them read: the state of the group.
    pub encrypted_group_info: &'a [u8],
}

impl<'a> Welcome<'a> {
    /// Reads a bare welcome that fills the bytes.
    ///
    /// # Errors
    ///
    /// The bytes are not a welcome.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        let welcome = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(welcome)
    }

    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let cipher_suite = reader.u16()?;
        let mut list = reader.sub()?;
        let secrets = Secrets(list.rest());
        while !list.is_empty() {
            WelcomeSecret::read(&mut list)?;
        }
        Ok(Self { cipher_suite, secrets, encrypted_group_info: reader.vector()? })
    }

    /// Writes it from its parts.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_secrets(out, self.secrets);
    }

    /// The welcome with the entry for one key package only, if there is one.
    #[must_use]
    pub fn cut_for(&self, key_package_ref: &[u8]) -> Option<Vec<u8>> {
        let secret = self.secrets.into_iter().find(|secret| secret.key_package_ref == key_package_ref)?;
        let mut out = Vec::new();
        self.write_secrets(&mut out, [secret]);
        Some(out)
    }

    fn write_secrets(&self, out: &mut Vec<u8>, secrets: impl IntoIterator<Item = WelcomeSecret<'a>>) {
        out.extend_from_slice(&self.cipher_suite.to_be_bytes());
        let mut list = Vec::new();
        for secret in secrets {
            write_vector(&mut list, secret.key_package_ref);
            write_vector(&mut list, secret.kem_output);
            write_vector(&mut list, secret.ciphertext);
        }
        write_vector(out, &list);
        write_vector(out, self.encrypted_group_info);
    }
}

/// The entries of a [`Welcome`], which were read once before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Secrets<'a>(&'a [u8]);

impl<'a> Iterator for Secrets<'a> {
    type Item = WelcomeSecret<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut reader = Reader::new(self.0);
        let item = WelcomeSecret::read(&mut reader).ok()?;
        self.0 = reader.rest();
        Some(item)
    }
}

/// What one of those who are added can read (RFC 9420, section 12.4.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WelcomeSecret<'a> {
    /// The reference of the key package that it is for.
    pub key_package_ref: &'a [u8],
    /// Output of the key encapsulation.
    pub kem_output: &'a [u8],
    /// The encrypted secrets.
    pub ciphertext: &'a [u8],
}

impl<'a> WelcomeSecret<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        Ok(Self { key_package_ref: reader.vector()?, kem_output: reader.vector()?, ciphertext: reader.vector()? })
    }
}

/// Who may propose changes without being a member: the voice gateway (RFC 9420, section 12.1.8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExternalSender<'a> {
    /// The public key that verifies its proposals; an uncompressed point of 65 bytes.
    pub signature_key: &'a [u8],
    /// The type of its credential; [`BASIC_CREDENTIAL`](super::BASIC_CREDENTIAL) in a call.
    pub credential_type: u16,
    /// Its identity, any bytes.
    pub identity: &'a [u8],
}

impl<'a> ExternalSender<'a> {
    /// Reads the payload of opcode 25.
    ///
    /// # Errors
    ///
    /// The bytes are not an external sender with a basic credential.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        let signature_key = reader.vector()?;
        let unknown = reader.error(ErrorKind::Value);
        let credential_type = reader.u16()?;
        if credential_type != super::BASIC_CREDENTIAL {
            return Err(unknown);
        }
        let identity = reader.vector()?;
        reader.finish()?;
        Ok(Self { signature_key, credential_type, identity })
    }

    /// Writes the payload of opcode 25.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_vector(out, self.signature_key);
        out.extend_from_slice(&self.credential_type.to_be_bytes());
        write_vector(out, self.identity);
    }
}
