//! Where memory comes from, in the server and in all processes that are made from its executable.
//!
//! A call takes dozens of small pieces, mostly given back on the thread that asked for them. mimalloc has a quick way for all of them,
//! the C library only up to a kilobyte. Large pieces stay the C library's: it has the kernel move their pages when they
//! grow, where mimalloc copies them, so that old and new are there at once, which the process that compiles has no room for
//! (`docs/decisions/0047`). The size says whose a piece is.

use std::alloc::{GlobalAlloc, Layout, System};

use libmimalloc_sys::{mi_free, mi_malloc, mi_malloc_aligned, mi_realloc_aligned, mi_zalloc_aligned};

/// From this size on, in bytes, a piece is the C library's.
const LARGE: usize = 256 << 10;
/// Whatever mimalloc gives is aligned to this, if it is no smaller (`MI_MAX_ALIGN_SIZE`).
const ALIGNED: usize = 16;

#[global_allocator]
static ALLOCATOR: BySize = BySize;

struct BySize;

fn is_large(bytes: usize) -> bool {
    bytes >= LARGE
}

#[expect(unsafe_code, reason = "what an allocator is")]
// SAFETY: each piece is given back to, and grown by, the allocator that its size names, which it came from. Both keep the promises of a
// `malloc`, and no size is zero, which those who call it see to.
unsafe impl GlobalAlloc for BySize {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (bytes, align) = (layout.size(), layout.align());
        // SAFETY: the layout is passed on as it is. Without an alignment there is that of `ALIGNED`.
        unsafe {
            match () {
                () if is_large(bytes) => System.alloc(layout),
                () if align <= ALIGNED && align <= bytes => mi_malloc(bytes).cast(),
                () => mi_malloc_aligned(bytes, align).cast(),
            }
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the layout is passed on as it is.
        unsafe {
            match is_large(layout.size()) {
                true => System.alloc_zeroed(layout),
                false => mi_zalloc_aligned(layout.size(), layout.align()).cast(),
            }
        }
    }

    #[inline]
    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        // SAFETY: `layout` is that of the piece, so it came from there.
        unsafe {
            match is_large(layout.size()) {
                true => System.dealloc(piece, layout),
                false => mi_free(piece.cast()),
            }
        }
    }

    #[inline]
    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: within one of them it is passed on as it is. From one to the other, the new piece is not null where it is written
        // to, both have the bytes that are copied, and the old one is given back to where it came from. The caller says that
        // `bytes` makes a layout with the alignment of the old one.
        unsafe {
            match (is_large(layout.size()), is_large(bytes)) {
                (true, true) => System.realloc(piece, layout, bytes),
                (false, false) => mi_realloc_aligned(piece.cast(), bytes, layout.align()).cast(),
                _ => {
                    let moved = self.alloc(Layout::from_size_align_unchecked(bytes, layout.align()));
                    if !moved.is_null() {
                        moved.copy_from_nonoverlapping(piece, layout.size().min(bytes));
                        self.dealloc(piece, layout);
                    }
                    moved
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_keeps_its_bytes_when_it_grows_and_shrinks_across_the_bound() {
        let mut bytes: Vec<u8> = (0..=255).collect();
        for length in [LARGE - 1, LARGE, 3 * LARGE, LARGE + 1, LARGE - 1, 300] {
            bytes.resize(length, 7);
            bytes.shrink_to_fit();
            assert!(bytes[..256].iter().enumerate().all(|(at, byte)| at == usize::from(*byte)), "{length}");
            assert!(bytes[256..].iter().all(|byte| *byte == 7), "{length}");
        }
    }

    #[test]
    fn pieces_are_aligned_as_they_were_asked_for() {
        #[expect(unsafe_code, reason = "to ask as libraries do")]
        for align in (0..=16).map(|bits| 1 << bits) {
            for bytes in [1, 7, 8, 9, 16, 17, 24, 40, 100, 1_000, 10_000, LARGE - 1, LARGE] {
                let layout = Layout::from_size_align(bytes, align).unwrap();
                // SAFETY: the layout is not empty, and each piece is given back by its own.
                unsafe {
                    let (piece, zeroed) = (ALLOCATOR.alloc(layout), ALLOCATOR.alloc_zeroed(layout));
                    for piece in [piece, zeroed] {
                        assert!(!piece.is_null() && piece.addr().is_multiple_of(align), "{bytes} {align}");
                    }
                    assert!((0..bytes).all(|at| zeroed.add(at).read() == 0), "{bytes} {align}");
                    let grown = ALLOCATOR.realloc(piece, layout, 2 * bytes);
                    assert!(!grown.is_null() && grown.addr().is_multiple_of(align), "{bytes} {align}");
                    ALLOCATOR.dealloc(grown, Layout::from_size_align(2 * bytes, align).unwrap());
                    ALLOCATOR.dealloc(zeroed, layout);
                }
            }
        }
    }
}
