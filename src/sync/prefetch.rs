//! Memory that is fetched before it is looked at.
//!
//! Safe for any address: a prefetch reads nothing that a program could see, and faults nowhere.

/// Has the processor fetch the cache line that `value` begins in, and the next one, where there is a way to ask for that. Nothing but time depends on it.
#[inline]
#[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables, reason = "other processors are not asked"))]
pub(crate) fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

        let place = std::ptr::from_ref(value).cast::<i8>();
        // SAFETY: whatever the address, see the module's argument.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(place);
            _mm_prefetch::<_MM_HINT_T0>(place.wrapping_add(CACHE_LINE));
        }
    }
}

#[cfg(target_arch = "x86_64")]
const CACHE_LINE: usize = 64;
