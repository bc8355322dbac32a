//! The calls into libopus. The only file of this crate with unsafe code; it hands slices to the library and owns the memory
//! of its states, and knows nothing of what they are for.

#![allow(unsafe_code, reason = "libopus is C")]

use std::ffi::c_int;

use opusic_sys as sys;

use super::RATE_HZ;

/// A piece of a libopus state, aligned as `malloc` aligns.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(16))]
struct Piece([u8; 16]);

/// Memory for a state of `octets`. Both states are "position independent and can be freely copied" (opus.h).
fn memory(octets: c_int) -> Box<[Piece]> {
    let octets = usize::try_from(octets).expect("libopus tells a size for one channel");
    vec![Piece([0; 16]); octets.div_ceil(size_of::<Piece>())].into_boxed_slice()
}

/// A size or count that fits C's `int`; what does not is cut, which only makes less of a buffer known to the library.
fn int(size: usize) -> c_int {
    c_int::try_from(size).unwrap_or(c_int::MAX)
}

/// libopus refused: the payload is malformed or a size is not one of its.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused;

fn count(result: c_int) -> Result<usize, Refused> {
    usize::try_from(result).map_err(|_| Refused)
}

/// What libopus decodes one stream with, to mono at 48 kHz.
#[derive(Debug)]
pub(super) struct RawDecoder(Box<[Piece]>);

impl RawDecoder {
    pub(super) fn new() -> Self {
        // SAFETY: the function only computes.
        let mut state = memory(unsafe { sys::opus_decoder_get_size(1) });
        // SAFETY: the memory is as large and as aligned as libopus asks.
        let result = unsafe { sys::opus_decoder_init(state.as_mut_ptr().cast(), RATE_HZ.cast_signed(), 1) };
        assert_eq!(result, sys::OPUS_OK, "rate and channels are among libopus's");
        Self(state)
    }

    /// Decodes a packet into the front of `out`.
    pub(super) fn decode(&mut self, packet: &[u8], out: &mut [i16]) -> Result<usize, Refused> {
        self.call(packet, out, false)
    }

    /// Fills `out`, a multiple of 2.5 ms, from the redundancy of the packet behind it.
    pub(super) fn decode_fec(&mut self, next: &[u8], out: &mut [i16]) -> Result<usize, Refused> {
        self.call(next, out, true)
    }

    /// Fills `out`, a multiple of 2.5 ms, with a continuation of what was decoded.
    pub(super) fn conceal(&mut self, out: &mut [i16]) -> Result<usize, Refused> {
        self.call(&[], out, false)
    }

    fn call(&mut self, packet: &[u8], out: &mut [i16], fec: bool) -> Result<usize, Refused> {
        let data = if packet.is_empty() {
            std::ptr::null()
        } else {
            packet.as_ptr()
        };
        // SAFETY: the state was initialised for one channel by `new`; `data` has as many octets and `out` as many samples as
        // told. A null packet is libopus's way of naming a loss.
        let result = unsafe {
            sys::opus_decode(
                self.0.as_mut_ptr().cast(),
                data,
                int(packet.len()),
                out.as_mut_ptr(),
                int(out.len()),
                c_int::from(fec),
            )
        };
        count(result)
    }
}

/// What libopus encodes one stream with, from mono at 48 kHz.
#[derive(Debug, Clone)]
pub(super) struct RawEncoder(Box<[Piece]>);

impl RawEncoder {
    pub(super) fn new() -> Self {
        // SAFETY: the function only computes.
        let mut state = memory(unsafe { sys::opus_encoder_get_size(1) });
        let rate = RATE_HZ.cast_signed();
        // SAFETY: the memory is as large and as aligned as libopus asks.
        let result =
            unsafe { sys::opus_encoder_init(state.as_mut_ptr().cast(), rate, 1, sys::OPUS_APPLICATION_VOIP) };
        assert_eq!(
            result,
            sys::OPUS_OK,
            "rate, channels and application are among libopus's"
        );
        Self(state)
    }

    /// Makes a setting whose request takes one number; a value that libopus does not know changes nothing.
    pub(super) fn set(&mut self, request: Setting, value: i32) {
        // SAFETY: the state was initialised by `new`, and every `Setting` takes one 32-bit integer.
        let result = unsafe { sys::opus_encoder_ctl(self.0.as_mut_ptr().cast(), request as c_int, value) };
        debug_assert_eq!(result, sys::OPUS_OK, "{request:?} {value}");
    }

    /// Returns libopus's number of the bandwidth that it has decided to encode with, which it may not have reached yet.
    pub(super) fn bandwidth(&mut self) -> i32 {
        let mut bandwidth = AUTO;
        // SAFETY: the state was initialised by `new`, and the request takes a pointer to a 32-bit integer to write to.
        let result = unsafe {
            sys::opus_encoder_ctl(
                self.0.as_mut_ptr().cast(),
                sys::OPUS_GET_BANDWIDTH_REQUEST as c_int,
                &raw mut bandwidth,
            )
        };
        debug_assert_eq!(result, sys::OPUS_OK, "every encoder has a bandwidth");
        bandwidth
    }

    /// Encodes a frame of 10, 20, 40 or 60 ms into the front of `out`.
    pub(super) fn encode(&mut self, pcm: &[i16], out: &mut [u8]) -> Result<usize, Refused> {
        // SAFETY: the state was initialised for one channel by `new`; `pcm` has as many samples and `out` as many octets as
        // told.
        let result = unsafe {
            sys::opus_encode(
                self.0.as_mut_ptr().cast(),
                pcm.as_ptr(),
                int(pcm.len()),
                out.as_mut_ptr(),
                int(out.len()),
            )
        };
        count(result)
    }

    /// Becomes an exact copy of another encoder.
    pub(super) fn copy_from(&mut self, other: &Self) {
        self.0.copy_from_slice(&other.0);
    }
}

/// Settings of an encoder that take one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub(super) enum Setting {
    Complexity = sys::OPUS_SET_COMPLEXITY_REQUEST,
    BitrateBps = sys::OPUS_SET_BITRATE_REQUEST,
    Vbr = sys::OPUS_SET_VBR_REQUEST,
    InbandFec = sys::OPUS_SET_INBAND_FEC_REQUEST,
    LossPercent = sys::OPUS_SET_PACKET_LOSS_PERC_REQUEST,
    Dtx = sys::OPUS_SET_DTX_REQUEST,
    MaxBandwidth = sys::OPUS_SET_MAX_BANDWIDTH_REQUEST,
    Bandwidth = sys::OPUS_SET_BANDWIDTH_REQUEST,
    /// `OPUS_SET_FORCE_MODE` of opus_private.h, which libopus uses itself where it puts several frames into a packet.
    Mode = 11_002,
}

/// Values of [`Setting::Mode`]: SILK alone up to the wide band and with CELT above it, and CELT alone.
pub(super) const SILK: i32 = 1000;
pub(super) const CELT: i32 = 1002;

/// Leaves a setting to libopus.
pub(super) const AUTO: i32 = sys::OPUS_AUTO;

/// The most frames that a packet has (RFC 6716 §3.2.5).
const MAX_FRAMES: usize = 48;

/// Samples at 48 kHz that a whole packet decodes to, at most 120 ms; refused when its frames do not fill it as they should.
pub(super) fn packet_samples(packet: &[u8]) -> Result<usize, Refused> {
    let mut sizes = [0; MAX_FRAMES];
    let frames = parse(packet, None, &mut sizes)?;
    Ok(frames * frame_samples(packet).ok_or(Refused)?)
}

/// Hands out the frames of a packet in their order, none when they do not fill it as they should.
pub(super) fn each_frame<'p>(packet: &'p [u8], mut take: impl FnMut(&'p [u8])) -> Result<(), Refused> {
    let mut sizes = [0; MAX_FRAMES];
    let mut starts = [std::ptr::null(); MAX_FRAMES];
    let frames = parse(packet, Some(&mut starts), &mut sizes)?;
    for (start, size) in starts.iter().zip(sizes).take(frames) {
        let start = start.addr().wrapping_sub(packet.as_ptr().addr());
        let end = start.wrapping_add(usize::try_from(size).map_err(|_| Refused)?);
        take(packet.get(start..end).ok_or(Refused)?);
    }
    Ok(())
}

/// Finds the sizes of a packet's frames, and where they start; returns their number.
fn parse(
    packet: &[u8],
    starts: Option<&mut [*const u8; MAX_FRAMES]>,
    sizes: &mut [i16; MAX_FRAMES],
) -> Result<usize, Refused> {
    let starts = starts.map_or(std::ptr::null_mut(), |starts| starts.as_mut_ptr());
    // SAFETY: `packet` has as many octets as told, `starts` (unless null, which is a result not asked for) and `sizes` as many
    // places as a packet can have frames; the other null pointers are results not asked for.
    let frames = unsafe {
        sys::opus_packet_parse(
            packet.as_ptr(),
            int(packet.len()),
            std::ptr::null_mut(),
            starts,
            sizes.as_mut_ptr(),
            std::ptr::null_mut(),
        )
    };
    count(frames)
}

/// Samples at 48 kHz of each frame of a packet.
pub(super) fn frame_samples(packet: &[u8]) -> Option<usize> {
    let first = packet.first()?;
    // SAFETY: the function reads the first octet only.
    let samples = unsafe { sys::opus_packet_get_samples_per_frame(first, RATE_HZ.cast_signed()) };
    usize::try_from(samples).ok()
}

/// Whether a packet repeats the frame before it.
pub(super) fn has_fec(packet: &[u8]) -> bool {
    // SAFETY: `packet` is not empty and has as many octets as told.
    !packet.is_empty() && unsafe { sys::opus_packet_has_lbrr(packet.as_ptr(), int(packet.len())) } == 1
}
