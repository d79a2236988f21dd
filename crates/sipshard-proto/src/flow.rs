//! Flows: one connection of a client, named so that every worker and a later request find it (RFC 5626 §5.2).
//!
//! A client behind a NAT, and every WebSocket client, can only be reached through the connection that it opened. So the
//! name of that connection is kept with its bindings, and stands in the Record-Route and Via values that we write.

use crate::secret::{Purpose, Secret};
use crate::slots::Handle;
use crate::transaction::branch::{read_hex, write_hex};
use crate::transport::Transport;

/// The parameter of our Record-Route and Via values that carries a flow token.
pub const FLOW_PARAMETER: &str = "flow";

/// One connection of one worker. It is dead when the worker has another generation, or the handle another tenant.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Flow {
    /// The shard of the worker that owns the connection.
    pub worker: u16,
    /// The low bits of that worker's generation.
    pub generation: u16,
    /// The listener through which it came, or by which we are known on it.
    pub listener: u16,
    /// What it speaks.
    pub transport: Transport,
    /// The connection among its worker's.
    pub connection: Handle,
}

const NAME_DIGITS: usize = 4 + 4 + 4 + 2 + 16;
const TOKEN_DIGITS: usize = NAME_DIGITS + 16;

impl Flow {
    /// Appends the flow's name: 30 hexadecimal digits. It proves nothing; it is for our own table.
    pub fn write_name(self, out: &mut Vec<u8>) {
        write_hex(out, u64::from(self.worker), 4);
        write_hex(out, u64::from(self.generation), 4);
        write_hex(out, u64::from(self.listener), 4);
        write_hex(out, self.transport as u64, 2);
        write_hex(out, self.connection.as_u64(), 16);
    }

    /// Reads a name back.
    pub fn read_name(name: &[u8]) -> Option<Self> {
        if name.len() != NAME_DIGITS {
            return None;
        }
        let number = |start: usize, digits: usize| read_hex(&name[start..start + digits]);
        Some(Self {
            worker: number(0, 4)? as u16,
            generation: number(4, 4)? as u16,
            listener: number(8, 4)? as u16,
            transport: Transport::from_number(number(12, 2)? as u8)?,
            connection: Handle::from_u64(number(14, 16)?),
        })
    }

    /// Appends the flow's token for the call `call_id`: its name, and a proof that we wrote it for that call, so that
    /// nobody can send through the connections of others (RFC 5626 §5.2 asks for the same).
    pub fn write_token(self, secret: &Secret, call_id: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        self.write_name(out);
        let proof = secret.proof(Purpose::Flow, &[&out[start..], call_id]);
        write_hex(out, proof, 16);
    }

    /// Reads a token back; `None` when we did not write it for the call `call_id`.
    pub fn read_token(secret: &Secret, call_id: &[u8], token: &[u8]) -> Option<Self> {
        if token.len() != TOKEN_DIGITS {
            return None;
        }
        let (name, proof) = token.split_at(NAME_DIGITS);
        let is_ours = read_hex(proof)? == secret.proof(Purpose::Flow, &[name, call_id]);
        Self::read_name(name).filter(|_| is_ours)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOW: Flow = Flow {
        worker: 3,
        generation: 500,
        listener: 2,
        transport: Transport::Wss,
        connection: Handle {
            slot: 77,
            serial: 0xfeed_beef,
        },
    };

    #[test]
    fn a_token_is_read_back_for_its_own_call_only() {
        let secret = Secret::new([1; 16]);
        let mut token = Vec::new();
        FLOW.write_token(&secret, b"call-1", &mut token);
        assert_eq!(Flow::read_token(&secret, b"call-1", &token), Some(FLOW));
        assert_eq!(Flow::read_token(&secret, b"call-2", &token), None);
        for place in 0..token.len() {
            let mut changed = token.clone();
            changed[place] ^= 1;
            assert_eq!(Flow::read_token(&secret, b"call-1", &changed), None);
        }
        assert_eq!(Flow::read_token(&secret, b"call-1", b""), None);
    }

    #[test]
    fn a_name_is_read_back() {
        let mut name = Vec::new();
        FLOW.write_name(&mut name);
        assert_eq!(Flow::read_name(&name), Some(FLOW));
        assert_eq!(Flow::read_name(&name[1..]), None);
        assert_eq!(Flow::read_name(&[b'f'; NAME_DIGITS]), None);
    }
}
