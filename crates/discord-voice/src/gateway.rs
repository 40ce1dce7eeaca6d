//! What a call needs of the bot's own gateway connection.

use std::error::Error;

use voice_model::{UpdateVoiceState, VoiceServerUpdate, VoiceState};

/// The way to the main gateway: the bot's own connection to Discord.
///
/// There is glue for twilight and serenity in crates of their own. For any other library: send the update as
/// opcode 4 on the shard of its guild.
pub trait VoiceGateway: Send + Sync + 'static {
    /// Hands an update of the own voice state to the main gateway. It must not wait for the network.
    ///
    /// # Errors
    ///
    /// Anything that keeps the update from being sent, such as a connection that is gone.
    fn update_voice_state(&self, update: UpdateVoiceState) -> Result<(), Box<dyn Error + Send + Sync>>;
}

impl<T: VoiceGateway + ?Sized> VoiceGateway for std::sync::Arc<T> {
    fn update_voice_state(&self, update: UpdateVoiceState) -> Result<(), Box<dyn Error + Send + Sync>> {
        (**self).update_voice_state(update)
    }
}

/// One of the two main-gateway events that voice needs.
#[derive(Clone, Debug)]
pub enum GatewayEvent {
    /// `VOICE_STATE_UPDATE`, of any user.
    VoiceState(VoiceState),
    /// `VOICE_SERVER_UPDATE`.
    VoiceServer(VoiceServerUpdate),
}

impl From<VoiceState> for GatewayEvent {
    fn from(state: VoiceState) -> Self {
        Self::VoiceState(state)
    }
}

impl From<VoiceServerUpdate> for GatewayEvent {
    fn from(update: VoiceServerUpdate) -> Self {
        Self::VoiceServer(update)
    }
}
