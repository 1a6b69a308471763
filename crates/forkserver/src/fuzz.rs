//! Entry points of the fuzz targets, see `fuzz/` in the repository: the bytes on the link between
//! parent and fork server, and the requests of children.
//!
//! An input must result in messages or an error, never in a panic.

use std::collections::VecDeque;
use std::fs::File;
use std::net::TcpStream;
use std::os::fd::OwnedFd;

use serde::de::DeserializeOwned;

use crate::channel::{Channel, ChannelLimits};
use crate::protocol::{ForkServerCommand, PARENT_LIMITS, Report, SERVER_LIMITS};
use crate::transfer::{Decoder, Serde, Transfer};

/// Decodes bytes as commands to the fork server, and as reports to the parent.
pub fn link(bytes: &[u8]) {
    decode::<ForkServerCommand>(bytes, SERVER_LIMITS, ForkServerCommand::descriptors);
    decode::<Report>(bytes, PARENT_LIMITS, |_report| 0);
}

fn decode<H: DeserializeOwned>(
    bytes: &[u8],
    limits: ChannelLimits,
    descriptors: impl Fn(&H) -> usize,
) {
    let Ok((end, _other)) = daemon_sys::link::pair() else { return };
    let mut channel: Channel<OwnedFd> = Channel::new(end, limits);
    for piece in bytes.chunks(1021) {
        channel.feed(piece);
        // After an error, the link cannot be used any more.
        while let Ok(Some((head, rest))) = channel.next::<H>() {
            let _ = rest.take(descriptors(&head), &mut Vec::new());
        }
    }
}

/// Decodes bytes as a request of each kind. The first byte selects the number of descriptors.
pub fn request(bytes: &[u8]) {
    let Some((count, bytes)) = bytes.split_first() else { return };
    let descriptors = || -> VecDeque<OwnedFd> {
        (0..count % 4).filter_map(|_nth| Some(File::open("/dev/null").ok()?.into())).collect()
    };
    decode_as::<()>(bytes, descriptors());
    decode_as::<(String, Vec<u8>)>(bytes, descriptors());
    decode_as::<(TcpStream, Option<String>, Option<File>)>(bytes, descriptors());
    decode_as::<Serde<(u64, Vec<Option<String>>, f64)>>(bytes, descriptors());
}

fn decode_as<R: Transfer>(bytes: &[u8], descriptors: VecDeque<OwnedFd>) {
    let _request = Decoder::new(bytes.to_vec(), descriptors).decode_request::<R>();
}

#[cfg(test)]
#[path = "../../../tests/fuzzing.rs"]
mod fuzzing;

#[cfg(test)]
mod tests {
    use super::fuzzing::decodes_any_bytes;

    #[test]
    fn bytes_on_the_link_are_decoded_or_refused() {
        decodes_any_bytes("link", super::link);
    }

    #[test]
    fn bytes_of_requests_are_decoded_or_refused() {
        decodes_any_bytes("request", super::request);
    }
}
