//! What is not CUDA's: settings, reports and counters, for tests in the same process.

use super::state::{Gate, State, enter};
use crate::report;
use std::ffi::{CStr, CString, c_char, c_int};

impl State {
    fn configure(&mut self, text: &str) -> bool {
        match self.config.apply(text) {
            Ok(wanted) => {
                if wanted.reset {
                    self.reset();
                }
                true
            }
            Err(reason) => {
                self.last_error = reason;
                false
            }
        }
    }
}

/// Changes settings; `config` describes the text. True if all of it was understood; otherwise nothing is changed and the
/// report's `last_error` says why.
pub fn configure(text: &str) -> bool {
    let mut understood = false;
    let code = enter("lenetc_softgpu_configure", Gate::Always, |state| {
        understood = state.configure(text);
        Ok(())
    });
    code == 0 && understood
}

/// Findings, counters and the last error as JSON, as `report` describes.
pub fn report_json() -> String {
    let mut text = String::new();
    enter("lenetc_softgpu_report", Gate::Always, |state| {
        text = report::json(&state.findings, &state.counters, &state.last_error);
        Ok(())
    });
    text
}

/// Like [`configure`], for C. Zero if all of it was understood; otherwise nothing is changed and the
/// report's `last_error` says why.
///
/// # Safety
/// `text` is null or ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lenetc_softgpu_configure(text: *const c_char) -> c_int {
    if text.is_null() {
        return 1;
    }
    // SAFETY: the caller's promise.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    c_int::from(!configure(&text))
}

/// Like [`report_json`], for C; to be freed by `lenetc_softgpu_free`.
#[unsafe(no_mangle)]
pub extern "C" fn lenetc_softgpu_report() -> *mut c_char {
    // JSON escapes zero bytes.
    CString::new(report_json()).map_or(std::ptr::null_mut(), CString::into_raw)
}

/// # Safety
/// `text` is null or comes from `lenetc_softgpu_report`, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lenetc_softgpu_free(text: *mut c_char) {
    if !text.is_null() {
        // SAFETY: the caller's promise.
        drop(unsafe { CString::from_raw(text) });
    }
}

/// Sets all counters to zero and drops the findings. A lost context stays lost.
#[unsafe(no_mangle)]
pub extern "C" fn lenetc_softgpu_reset_counters() {
    enter("lenetc_softgpu_reset_counters", Gate::Always, |state| {
        state.counters = Default::default();
        state.findings.clear();
        state.last_error.clear();
        Ok(())
    });
}
