//! Key packages and the leaves in them.

use super::{
    CIPHER_SUITE, ErrorKind, MLS_10, WireError, key_package_ref,
    reader::{Reader, write_vector},
    sign::sign_content,
};

/// A key package: what a user needs to be added (RFC 9420, section 10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPackage<'a> {
    /// The version of MLS; [`MLS_10`] in a call.
    pub version: u16,
    /// The cipher suite; [`CIPHER_SUITE`] in a call.
    pub cipher_suite: u16,
    /// The key that a welcome is encrypted to.
    pub init_key: &'a [u8],
    /// The leaf that the user will have.
    pub leaf: LeafNode<'a>,
    /// The content of the list of extensions; empty in a call.
    pub extensions: &'a [u8],
    /// The signature of the leaf's key over all before it.
    pub signature: &'a [u8],
    raw: &'a [u8],
    signed_len: usize,
}

impl<'a> KeyPackage<'a> {
    /// Reads a bare key package that fills the bytes.
    ///
    /// # Errors
    ///
    /// The bytes are not a key package of MLS 1.0; one wrapped in an MLS message is such a case.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        let package = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(package)
    }

    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let start = reader.position();
        let wrong = reader.error(ErrorKind::Version);
        let version = reader.u16()?;
        if version != MLS_10 {
            return Err(wrong);
        }
        let cipher_suite = reader.u16()?;
        let init_key = reader.vector()?;
        let leaf = LeafNode::read(reader)?;
        let extensions = extensions(reader)?;
        let signed_len = reader.since(start).len();
        let signature = reader.vector()?;
        let raw = reader.since(start);
        Ok(Self { version, cipher_suite, init_key, leaf, extensions, signature, raw, signed_len })
    }

    /// The bytes that were read.
    #[must_use]
    pub const fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The hash that names it in a welcome.
    #[must_use]
    pub fn reference(&self) -> [u8; 32] {
        key_package_ref(self.raw)
    }

    /// The bytes that its signature signs.
    #[must_use]
    pub fn signed_bytes(&self) -> Vec<u8> {
        sign_content("KeyPackageTBS", &[self.raw.get(..self.signed_len).unwrap_or_default()])
    }

    /// Writes it from its parts.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.version.to_be_bytes());
        out.extend_from_slice(&self.cipher_suite.to_be_bytes());
        write_vector(out, self.init_key);
        self.leaf.write(out);
        write_vector(out, self.extensions);
        write_vector(out, self.signature);
    }

    /// Whether suite, leaf and extensions are those that DAVE's protocol version 1 asks for.
    ///
    /// Says nothing about signatures or about who the user is.
    #[must_use]
    pub fn is_dave(&self) -> bool {
        self.cipher_suite == CIPHER_SUITE
            && self.extensions.is_empty()
            && self.leaf.extensions.is_empty()
            && self.leaf.capabilities.is_dave()
            && self.leaf.source == LeafSource::KeyPackage(Lifetime::UNLIMITED)
            && self.leaf.credential.user_id().is_some()
    }
}

/// A leaf of the group's tree: one member (RFC 9420, section 7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeafNode<'a> {
    /// The key that others encrypt to.
    pub encryption_key: &'a [u8],
    /// The public key that verifies what the member signs; an uncompressed point of 65 bytes in a call.
    pub signature_key: &'a [u8],
    /// Who the member is.
    pub credential: Credential<'a>,
    /// What the member understands.
    pub capabilities: Capabilities<'a>,
    /// Where the leaf comes from.
    pub source: LeafSource<'a>,
    /// The content of the list of extensions; empty in a call.
    pub extensions: &'a [u8],
    /// The signature over all before it.
    pub signature: &'a [u8],
    raw: &'a [u8],
    signed_len: usize,
}

impl<'a> LeafNode<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let start = reader.position();
        let encryption_key = reader.vector()?;
        let signature_key = reader.vector()?;
        let credential = Credential { kind: reader.u16()?, identity: reader.vector()? };
        let capabilities = Capabilities::read(reader)?;
        let source = LeafSource::read(reader)?;
        let extensions = extensions(reader)?;
        let signed_len = reader.since(start).len();
        let signature = reader.vector()?;
        let raw = reader.since(start);
        Ok(Self {
            encryption_key,
            signature_key,
            credential,
            capabilities,
            source,
            extensions,
            signature,
            raw,
            signed_len,
        })
    }

    /// The bytes that were read.
    #[must_use]
    pub const fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Whether the capabilities list every extension of the leaf, as they must (RFC 9420, section 7.2).
    #[must_use]
    pub fn claims_its_extensions(&self) -> bool {
        let mut list = Reader::new(self.extensions);
        while !list.is_empty() {
            let (Ok(kind), Ok(_)) = (list.u16(), list.vector()) else { return false };
            if !self.capabilities.extensions.iter().any(|claimed| claimed == kind) {
                return false;
            }
        }
        true
    }

    /// The bytes that its signature signs.
    ///
    /// `group_id` and `leaf_index` say where the leaf is; a leaf in a key package is nowhere yet and signs neither.
    #[must_use]
    pub fn signed_bytes(&self, group_id: &[u8], leaf_index: u32) -> Vec<u8> {
        let own = self.raw.get(..self.signed_len).unwrap_or_default();
        let mut place = Vec::new();
        if !matches!(self.source, LeafSource::KeyPackage(_)) {
            write_vector(&mut place, group_id);
            place.extend_from_slice(&leaf_index.to_be_bytes());
        }
        sign_content("LeafNodeTBS", &[own, &place])
    }

    /// Writes it from its parts.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_vector(out, self.encryption_key);
        write_vector(out, self.signature_key);
        out.extend_from_slice(&self.credential.kind.to_be_bytes());
        write_vector(out, self.credential.identity);
        for list in self.capabilities.lists() {
            write_vector(out, list.0);
        }
        match self.source {
            LeafSource::KeyPackage(lifetime) => {
                out.push(1);
                out.extend_from_slice(&lifetime.not_before.to_be_bytes());
                out.extend_from_slice(&lifetime.not_after.to_be_bytes());
            }
            LeafSource::Update => out.push(2),
            LeafSource::Commit { parent_hash } => {
                out.push(3);
                write_vector(out, parent_hash);
            }
        }
        write_vector(out, self.extensions);
        write_vector(out, self.signature);
    }
}

/// Who a member is (RFC 9420, section 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credential<'a> {
    /// The type of the credential; [`BASIC_CREDENTIAL`](super::BASIC_CREDENTIAL) in a call.
    pub kind: u16,
    /// The identity; a user id of 8 bytes, big-endian, in a call.
    pub identity: &'a [u8],
}

impl Credential<'_> {
    /// The user, if the credential is one of a call.
    #[must_use]
    pub fn user_id(&self) -> Option<voice_model::UserId> {
        let identity: [u8; 8] = self.identity.try_into().ok()?;
        (self.kind == super::BASIC_CREDENTIAL).then(|| voice_model::UserId::new(u64::from_be_bytes(identity)))
    }
}

/// What a member understands (RFC 9420, section 7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities<'a> {
    /// Versions of MLS.
    pub versions: U16s<'a>,
    /// Cipher suites.
    pub cipher_suites: U16s<'a>,
    /// Extensions besides those that everybody understands.
    pub extensions: U16s<'a>,
    /// Proposals besides those that everybody understands.
    pub proposals: U16s<'a>,
    /// Types of credentials.
    pub credentials: U16s<'a>,
}

impl<'a> Capabilities<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let mut list = || {
            let odd = reader.error(ErrorKind::Value);
            let bytes = reader.vector()?;
            if bytes.len().is_multiple_of(2) { Ok(U16s(bytes)) } else { Err(odd) }
        };
        Ok(Self {
            versions: list()?,
            cipher_suites: list()?,
            extensions: list()?,
            proposals: list()?,
            credentials: list()?,
        })
    }

    const fn lists(&self) -> [U16s<'a>; 5] {
        [self.versions, self.cipher_suites, self.extensions, self.proposals, self.credentials]
    }

    /// Whether they are those of DAVE's protocol version 1.
    #[must_use]
    pub fn is_dave(&self) -> bool {
        self.lists().map(|list| list.0) == [&[0, 1][..], &[0, 2], &[], &[], &[0, 1]]
    }
}

/// A list of numbers of 16 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct U16s<'a>(&'a [u8]);

impl U16s<'_> {
    /// The numbers.
    pub fn iter(&self) -> impl Iterator<Item = u16> {
        self.0.as_chunks().0.iter().map(|bytes| u16::from_be_bytes(*bytes))
    }
}

/// Where a leaf comes from (RFC 9420, section 7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeafSource<'a> {
    /// A key package.
    KeyPackage(Lifetime),
    /// A proposal to update the leaf.
    Update,
    /// The path of a commit.
    Commit {
        /// Binds the leaf to the nodes above it.
        parent_hash: &'a [u8],
    },
}

impl<'a> LeafSource<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let unknown = reader.error(ErrorKind::Value);
        match reader.u8()? {
            1 => Ok(Self::KeyPackage(Lifetime { not_before: reader.u64()?, not_after: reader.u64()? })),
            2 => Ok(Self::Update),
            3 => Ok(Self::Commit { parent_hash: reader.vector()? }),
            _ => Err(unknown),
        }
    }
}

/// When a key package may be used, in seconds since 1970 (RFC 9420, section 7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// The first second.
    pub not_before: u64,
    /// The last second.
    pub not_after: u64,
}

impl Lifetime {
    /// Always: the one that a voice gateway demands (DAVE protocol, "Leaf Node Contents").
    pub const UNLIMITED: Self = Self { not_before: 0, not_after: u64::MAX };
}

/// Reads a list of extensions and checks that it is one.
pub(super) fn extensions<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], WireError> {
    let mut list = reader.sub()?;
    let content = list.rest();
    while !list.is_empty() {
        list.u16()?;
        list.vector()?;
    }
    Ok(content)
}
