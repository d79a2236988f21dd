//! Socket addresses between the kernel's form and the standard library's.

use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// An IPv4 or IPv6 address as the kernel reads and writes it: 28 bytes instead of the 128 of
/// `sockaddr_storage`, because a batch holds 64 of them.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) union RawAddress {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

/// The room that the kernel is told of when it writes an address.
pub(crate) const RAW_ADDRESS_BYTES: libc::socklen_t =
    mem::size_of::<RawAddress>() as libc::socklen_t;

impl RawAddress {
    /// All bytes zero: family `AF_UNSPEC`.
    pub(crate) fn empty() -> RawAddress {
        // SAFETY: both variants are C structures of integers, for which all bits zero is a value.
        unsafe { mem::zeroed() }
    }

    /// The kernel's form of `address` and its length in bytes.
    pub(crate) fn from_socket_addr(address: &SocketAddr) -> (RawAddress, libc::socklen_t) {
        let mut raw = RawAddress::empty();
        match address {
            SocketAddr::V4(v4) => {
                raw.v4 = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: v4.port().to_be(),
                    sin_addr: libc::in_addr {
                        s_addr: u32::from_ne_bytes(v4.ip().octets()),
                    },
                    sin_zero: [0; 8],
                };
                (raw, mem::size_of::<libc::sockaddr_in>() as libc::socklen_t)
            }
            SocketAddr::V6(v6) => {
                raw.v6 = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: v6.port().to_be(),
                    sin6_flowinfo: v6.flowinfo(),
                    sin6_addr: libc::in6_addr {
                        s6_addr: v6.ip().octets(),
                    },
                    sin6_scope_id: v6.scope_id(),
                };
                (raw, RAW_ADDRESS_BYTES)
            }
        }
    }

    /// The address as the standard library has it. A family that is neither IPv4 nor IPv6, which no
    /// UDP socket delivers, reads as `0.0.0.0:0`.
    pub(crate) fn to_socket_addr(self) -> SocketAddr {
        // SAFETY: every byte of a RawAddress is initialised (`empty`), every bit pattern is a value
        // of either variant, and the family is at the same place in both.
        let family = libc::c_int::from(unsafe { self.v4.sin_family });
        if family == libc::AF_INET6 {
            // SAFETY: as above.
            let v6 = unsafe { self.v6 };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let port = u16::from_be(v6.sin6_port);
            return SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into();
        }
        if family != libc::AF_INET {
            return SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0).into();
        }
        // SAFETY: as above.
        let v4 = unsafe { self.v4 };
        let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
        SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_round_trip() {
        let with_scope = SocketAddrV6::new("fe80::1".parse().unwrap(), 5061, 7, 3);
        for address in [
            "192.0.2.1:5060".parse().unwrap(),
            "[2001:db8::1]:65535".parse().unwrap(),
        ]
        .into_iter()
        .chain([SocketAddr::V6(with_scope)])
        {
            let (raw, length) = RawAddress::from_socket_addr(&address);
            assert_eq!(raw.to_socket_addr(), address);
            assert_eq!(length, if address.is_ipv4() { 16 } else { 28 });
        }
    }

    #[test]
    fn an_address_that_the_kernel_did_not_write_is_unspecified() {
        assert_eq!(
            RawAddress::empty().to_socket_addr(),
            "0.0.0.0:0".parse().unwrap()
        );
    }
}
