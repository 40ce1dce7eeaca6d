//! All calls of one bot: guild to client, main-gateway events in, opcode 4 out.
