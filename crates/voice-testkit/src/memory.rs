//! What of a world is the product's and not the simulation's.

use std::mem;

use voice_server::{Core, CoreConfig};

use crate::World;

impl World {
    /// Ends the world and hands out its calls, their media and its server, without what was recorded: dropping that gives
    /// back as much memory as the product held.
    #[must_use]
    pub fn into_product(mut self) -> impl Sized {
        let calls: Vec<_> = self.clients.values_mut().map(|client| (client.call.take(), client.media.take())).collect();
        let nobody = Core::new(self.clock.now(), CoreConfig::default(), [0; 32]);
        (calls, mem::replace(&mut self.core, nobody))
    }
}
