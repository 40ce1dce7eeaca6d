//! A member that founds another group than it was asked to, and welcomes others into it.

use std::time::Duration;

use mls_rs::{
    CipherSuite, CipherSuiteProvider, Client, CryptoProvider, ExtensionList, Group, MlsMessage,
    client_builder::MlsConfig,
    crypto::SignaturePublicKey,
    extension::built_in::ExternalSendersExt,
    identity::{
        SigningIdentity,
        basic::{BasicCredential, BasicIdentityProvider},
    },
    time::MlsTime,
};
use mls_rs_crypto_awslc::AwsLcCryptoProvider;
use voice_dave::wire::ExternalSender;
use voice_model::{ChannelId, UserId};

/// Another group than that of the server.
#[derive(Debug)]
pub(crate) struct OtherGroup {
    /// Whose call it says it is.
    pub(crate) channel: ChannelId,
    /// The payloads of opcode 25 of its external senders.
    pub(crate) senders: Vec<Vec<u8>>,
    /// Its members, beginning with the one that founds it.
    pub(crate) members: Vec<UserId>,
}

impl OtherGroup {
    /// A bare welcome into the group, by a bare key package.
    pub(crate) fn welcome(&self, package: &[u8]) -> Vec<u8> {
        let (founder, others) = self.members.split_first().expect("somebody who founds it");
        let mut extensions = ExtensionList::new();
        if !self.senders.is_empty() {
            let senders = self.senders.iter().map(|bytes| {
                let sender = ExternalSender::parse(bytes).unwrap();
                identity(sender.identity, sender.signature_key)
            });
            extensions.set_from(ExternalSendersExt::new(senders.collect())).unwrap();
        }
        let id = self.channel.get().to_be_bytes().to_vec();
        let mut group = client(*founder).create_group_with_id(id, extensions, ExtensionList::new(), time()).unwrap();
        for other in others {
            let client = client(*other);
            let package = client.generate_key_package_message(ExtensionList::new(), ExtensionList::new(), time());
            add(&mut group, package.unwrap());
        }
        add(&mut group, MlsMessage::from_bytes(&[&[0, 1, 0, 5], package].concat()).unwrap())
    }
}

/// Adds a member; its bare welcome.
fn add(group: &mut Group<impl MlsConfig>, package: MlsMessage) -> Vec<u8> {
    let output = group.commit_builder().commit_time(time().unwrap()).add_member(package).unwrap().build().unwrap();
    group.apply_pending_commit().unwrap();
    output.welcome_messages()[0].to_bytes().unwrap()[4..].to_vec()
}

fn client(user: UserId) -> Client<impl MlsConfig> {
    let suite = CipherSuite::P256_AES128;
    let provider = AwsLcCryptoProvider::with_enabled_cipher_suites(vec![suite]);
    let (secret, public) = provider.cipher_suite_provider(suite).unwrap().signature_key_generate().unwrap();
    Client::builder()
        .identity_provider(BasicIdentityProvider::new())
        .crypto_provider(provider)
        .key_package_lifetime(Duration::from_secs(u64::MAX))
        .signing_identity(identity(&user.get().to_be_bytes(), &public), secret, suite)
        .build()
}

fn identity(identity: &[u8], key: &[u8]) -> SigningIdentity {
    SigningIdentity::new(
        BasicCredential::new(identity.to_vec()).into_credential(),
        SignaturePublicKey::new(key.to_vec()),
    )
}

/// Key packages are valid at every time.
fn time() -> Option<MlsTime> {
    Some(MlsTime::from(0))
}
