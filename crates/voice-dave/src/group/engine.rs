//! The MLS engine, which nothing outside of this folder names.

use std::{
    convert::Infallible,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use mls_rs::{
    CipherSuite, Client, ExtensionList, Group, KeyPackageStorage, MlsMessage,
    client_builder::{BaseConfig, WithCryptoProvider, WithIdentityProvider, WithKeyPackageRepo},
    crypto::{SignaturePublicKey, SignatureSecretKey},
    extension::built_in::ExternalSendersExt,
    group::{CommitEffect, CommitSecrets, ReceivedMessage},
    identity::{
        SigningIdentity,
        basic::{BasicCredential, BasicIdentityProvider},
    },
    mls_rs_codec::MlsEncode,
    time::MlsTime,
};
use mls_rs_core::key_package::KeyPackageData;
use voice_model::UserId;
use zeroize::Zeroizing;

use super::provider::Provider;
use crate::{
    BaseSecret,
    wire::{BadSignature, ExternalSender, SigningKey, TreeShape},
};

type Config = WithKeyPackageRepo<
    JoinMaterial,
    WithCryptoProvider<Provider, WithIdentityProvider<BasicIdentityProvider, BaseConfig>>,
>;

/// Makes groups and key packages for one user.
pub(super) struct Engine {
    client: Client<Config>,
    material: JoinMaterial,
    provider: Provider,
}

impl Engine {
    pub(super) fn new(user: UserId, key: &SigningKey) -> Self {
        Self::with_lifetime(user, key, Duration::from_secs(u64::MAX))
    }

    pub(super) fn with_lifetime(user: UserId, key: &SigningKey, lifetime: Duration) -> Self {
        let (material, provider) = (JoinMaterial::default(), Provider::default());
        let client = Client::builder()
            .identity_provider(BasicIdentityProvider::new())
            .crypto_provider(provider.clone())
            .key_package_repo(material.clone())
            .key_package_lifetime(lifetime)
            .signing_identity(
                identity(user.get().to_be_bytes().to_vec(), &key.public_key()),
                SignatureSecretKey::from(key.to_bytes().to_vec()),
                CipherSuite::P256_AES128,
            )
            .build();
        Self { client, material, provider }
    }

    /// Makes a bare key package; the keys of the one before are gone.
    pub(super) fn key_package(&self) -> Option<Vec<u8>> {
        let message = self
            .client
            .generate_key_package_message(ExtensionList::default(), ExtensionList::default(), Some(time()))
            .ok()?;
        message.to_bytes().ok()?.get(MESSAGE_HEADER_LEN..).map(<[u8]>::to_vec)
    }

    /// The reference of the newest key package whose keys are there.
    pub(super) fn key_package_ref(&self) -> Option<Vec<u8>> {
        self.material.lock().as_ref().map(|(reference, _)| reference.clone())
    }

    /// Wipes the keys of the newest key package.
    pub(super) fn spend_key_package(&self) {
        *self.material.lock() = None;
    }

    /// Makes the local group of epoch 0 with this user as its only member.
    pub(super) fn create(&self, group_id: [u8; 8], sender: &ExternalSender<'_>) -> Option<MlsGroup> {
        self.create_at(group_id, sender, time())
    }

    /// The own leaf is valid from this time on.
    pub(super) fn create_at(&self, group_id: [u8; 8], sender: &ExternalSender<'_>, now: MlsTime) -> Option<MlsGroup> {
        let mut extensions = ExtensionList::new();
        let sender = identity(sender.identity.to_vec(), sender.signature_key);
        extensions.set_from(ExternalSendersExt::new(vec![sender])).ok()?;
        self.client
            .create_group_with_id(group_id.to_vec(), extensions, ExtensionList::default(), Some(now))
            .ok()
            .map(|group| self.group(group))
    }

    /// Joins by a bare welcome. The keys of the key package are gone afterwards, whatever happens.
    ///
    /// No time is given, and so none is checked: a founder's leaf was never in a key package, and may be limited.
    pub(super) fn join(&self, welcome: &[u8]) -> Result<MlsGroup, Failure> {
        let joined = guarded(|| {
            let message = MlsMessage::from_bytes(&[&WELCOME_HEADER, welcome].concat()).ok()?;
            self.client.join_group(None, &message, None).ok()
        });
        self.spend_key_package();
        joined.map(|(group, _)| self.group(group))
    }

    fn group(&self, inner: Group<Config>) -> MlsGroup {
        MlsGroup { inner, provider: self.provider.clone(), has_panicked: false }
    }

    #[cfg(test)]
    pub(super) fn mac_keys(&self) -> Vec<Vec<u8>> {
        self.provider.mac_keys.lock().unwrap().iter().cloned().collect()
    }

    #[cfg(test)]
    pub(super) fn insert_key_package(&self, bytes: &[u8], init: [u8; 32], encryption: [u8; 32]) {
        let data = KeyPackageData::new(bytes.to_vec(), init.to_vec().into(), encryption.to_vec().into(), u64::MAX);
        *self.material.lock() = Some((crate::wire::key_package_ref(bytes).to_vec(), data));
    }
}

fn identity(identity: Vec<u8>, key: &[u8]) -> SigningIdentity {
    SigningIdentity::new(BasicCredential::new(identity).into_credential(), SignaturePublicKey::new(key.to_vec()))
}

/// Key packages are valid at every time, so no clock is read.
fn time() -> MlsTime {
    MlsTime::from(0)
}

/// What an MLS message has before its content: version and kind (RFC 9420, section 6).
const MESSAGE_HEADER_LEN: usize = 4;

/// The header of a welcome: MLS 1.0, kind 3 (RFC 9420, section 17.2).
const WELCOME_HEADER: [u8; MESSAGE_HEADER_LEN] = [0, 1, 0, 3];

/// The keys of the newest key package, and of no other.
#[derive(Clone, Default)]
struct JoinMaterial(Arc<Mutex<Option<OpenPackage>>>);

/// The reference of a key package, and the package with its keys.
type OpenPackage = (Vec<u8>, KeyPackageData);

impl JoinMaterial {
    fn lock(&self) -> MutexGuard<'_, Option<OpenPackage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyPackageStorage for JoinMaterial {
    type Error = Infallible;

    fn delete(&mut self, id: &[u8]) -> Result<(), Infallible> {
        self.lock().take_if(|(reference, _)| reference == id);
        Ok(())
    }

    fn insert(&mut self, id: Vec<u8>, package: KeyPackageData) -> Result<(), Infallible> {
        *self.lock() = Some((id, package));
        Ok(())
    }

    fn get(&self, id: &[u8]) -> Result<Option<KeyPackageData>, Infallible> {
        Ok(self.lock().as_ref().filter(|(reference, _)| reference == id).map(|(_, package)| package.clone()))
    }
}

/// One group in one epoch.
pub(super) struct MlsGroup {
    inner: Group<Config>,
    provider: Provider,
    /// What is left of its state cannot be relied on.
    has_panicked: bool,
}

/// Why the engine did not do what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It found something wrong.
    Refused,
    /// It has a fault that the message brought out.
    Panicked,
}

/// Runs the engine on what a peer sent. A peer must not end more than its own membership, whatever fault of the engine it
/// knows.
fn guarded<T>(run: impl FnOnce() -> Option<T>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|_| Failure::Panicked)?.ok_or(Failure::Refused)
}

/// A commit that this member made and has not applied.
pub(super) struct Prepared {
    pub(super) commit: Vec<u8>,
    welcome: Option<Vec<u8>>,
    secrets: CommitSecrets,
}

impl Prepared {
    /// What is sent: the commit, and the welcome directly behind it.
    pub(super) fn payload(&self) -> Vec<u8> {
        [&self.commit, self.welcome.as_deref().unwrap_or_default()].concat()
    }
}

/// A member as the group's tree has it.
pub(super) struct Leaf {
    pub(super) index: u32,
    pub(super) user: Option<UserId>,
    pub(super) signature_key: Vec<u8>,
}

impl MlsGroup {
    pub(super) fn id(&self) -> &[u8] {
        self.inner.group_id()
    }

    pub(super) fn epoch(&self) -> u64 {
        self.inner.current_epoch()
    }

    pub(super) fn own_leaf(&self) -> u32 {
        self.inner.current_member_index()
    }

    pub(super) fn leaf(&self, index: u32) -> Option<Leaf> {
        self.inner.member_at_index(index).map(|member| Leaf::new(index, member.signing_identity()))
    }

    pub(super) fn leaves(&self) -> impl Iterator<Item = Leaf> + '_ {
        self.inner.roster().members_iter().map(|member| Leaf::new(member.index, member.signing_identity()))
    }

    /// Checks a signature and remembers that it holds, for the commit over what it signs.
    pub(super) fn verify(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        self.provider.verify(key, message, signature)
    }

    /// Whether the only external sender of the group is this one.
    pub(super) fn has_external_sender(&self, sender: &ExternalSender<'_>) -> bool {
        let Ok(Some(senders)) = self.inner.context().extensions().get_as::<ExternalSendersExt>() else { return false };
        senders.allowed_senders() == [identity(sender.identity.to_vec(), sender.signature_key)]
    }

    /// The group's context as members sign it.
    pub(super) fn context(&self) -> Option<Vec<u8>> {
        self.inner.context().mls_encode_to_vec().ok()
    }

    /// Which nodes its tree has.
    pub(super) fn shape(&self) -> Option<TreeShape> {
        TreeShape::parse(&self.inner.export_tree().to_bytes().ok()?).ok()
    }

    /// Takes in a proposal, if its signature holds.
    pub(super) fn queue(&mut self, message: &[u8]) -> Result<(), Failure> {
        self.guarded(|group| {
            let message = MlsMessage::from_bytes(message).ok()?;
            let received = group.process_incoming_message_with_time(message, time());
            matches!(received, Ok(ReceivedMessage::Proposal(_))).then_some(())
        })
    }

    pub(super) fn clear_queue(&mut self) {
        self.inner.clear_proposal_cache();
    }

    /// Makes a commit over all that is queued, if all of it can be committed.
    pub(super) fn commit(&mut self) -> Result<Prepared, Failure> {
        self.guarded(|group| {
            let (output, secrets) = group.commit_builder().commit_time(time()).build_detached().ok()?;
            // The engine leaves out by itself what it finds invalid; others would refuse such a commit.
            if !output.unused_proposals().is_empty() {
                return None;
            }
            let welcome = match output.welcome_messages() {
                [] => None,
                [welcome] => Some(welcome.to_bytes().ok()?.get(MESSAGE_HEADER_LEN..)?.to_vec()),
                _ => return None,
            };
            Some(Prepared { commit: output.commit_message().to_bytes().ok()?, welcome, secrets })
        })
    }

    pub(super) fn apply_own(&mut self, prepared: Prepared) -> Result<(), Failure> {
        self.guarded(|group| {
            let done = group.apply_detached_commit(prepared.secrets).ok()?;
            is_new_epoch(&done.effect).then_some(())
        })
    }

    pub(super) fn apply(&mut self, commit: &[u8]) -> Result<(), Failure> {
        self.guarded(|group| {
            let message = MlsMessage::from_bytes(commit).ok()?;
            match group.process_incoming_message_with_time(message, time()) {
                Ok(ReceivedMessage::Commit(done)) => is_new_epoch(&done.effect).then_some(()),
                _ => None,
            }
        })
    }

    /// Once the engine has panicked with this group, it is not asked again.
    fn guarded<T>(&mut self, run: impl FnOnce(&mut Group<Config>) -> Option<T>) -> Result<T, Failure> {
        if self.has_panicked {
            return Err(Failure::Panicked);
        }
        let result = guarded(|| run(&mut self.inner));
        self.has_panicked = matches!(result, Err(Failure::Panicked));
        result
    }

    /// As if a message had brought out a fault of the engine.
    #[cfg(test)]
    pub(super) fn panic(&mut self) -> Failure {
        self.guarded(|_| -> Option<()> { panic!("a fault of the engine") }).unwrap_err()
    }

    /// What the frames of one member are encrypted with (DAVE protocol, "Sender Key Derivation").
    pub(super) fn base_secret(&self, user: UserId) -> Option<BaseSecret> {
        let context = user.get().to_le_bytes();
        let secret = self.inner.export_secret(EXPORT_LABEL, &context, BaseSecret::LEN).ok()?;
        let mut bytes = Zeroizing::new([0; BaseSecret::LEN]);
        bytes.copy_from_slice(secret.as_bytes().get(..BaseSecret::LEN)?);
        Some(BaseSecret::new(*bytes))
    }

    pub(super) fn epoch_authenticator(&self) -> Option<[u8; 32]> {
        self.inner.epoch_authenticator().ok()?.as_bytes().try_into().ok()
    }
}

/// The label of the exporter (DAVE protocol, "Sender Key Derivation").
const EXPORT_LABEL: &[u8] = b"Discord Secure Frames v0";

const fn is_new_epoch(effect: &CommitEffect) -> bool {
    matches!(effect, CommitEffect::NewEpoch(_))
}

impl Leaf {
    fn new(index: u32, identity: &SigningIdentity) -> Self {
        let user = identity.credential.as_basic().and_then(|basic| basic.identifier().try_into().ok());
        Self {
            index,
            user: user.map(|bytes| UserId::new(u64::from_be_bytes(bytes))),
            signature_key: identity.signature_key.as_ref().to_vec(),
        }
    }
}

impl fmt::Debug for MlsGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MlsGroup").field("epoch", &self.epoch()).finish_non_exhaustive()
    }
}
