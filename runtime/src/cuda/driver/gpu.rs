//! A GPU as the driver lists it, and what it says about itself. Needs no context.

use std::ffi::{CStr, c_char, c_int};

use cudarc::driver::sys::{CUdevice, CUdevice_attribute};

use super::{DriverError, Table, done};

/// A device by its number.
#[derive(Clone, Copy)]
pub(in crate::cuda) struct Gpu {
    pub(super) table: &'static Table,
    pub(super) handle: CUdevice,
}

/// Fills a text that ends with zero.
type Fill = unsafe extern "C" fn(*mut c_char, c_int, CUdevice) -> u32;

impl Gpu {
    /// How many there are.
    pub fn count(table: &Table) -> Result<u32, DriverError> {
        let mut count = 0;
        // SAFETY: the driver writes one number.
        done(unsafe { (table.cuDeviceGetCount)(&mut count) })?;
        Ok(u32::try_from(count).unwrap_or(0))
    }

    /// The one of a number below [`Gpu::count`].
    pub fn get(table: &'static Table, number: u32) -> Result<Self, DriverError> {
        let mut handle = 0;
        let number = c_int::try_from(number).unwrap_or(c_int::MAX);
        // SAFETY: the driver writes one number, and refuses those that it does not have.
        done(unsafe { (table.cuDeviceGet)(&mut handle, number) })?;
        Ok(Self { table, handle })
    }

    pub fn attribute(self, attribute: CUdevice_attribute) -> Result<u32, DriverError> {
        let mut value: c_int = 0;
        // SAFETY: the driver writes one number.
        done(unsafe { (self.table.cuDeviceGetAttribute)(&mut value, attribute, self.handle) })?;
        Ok(value.unsigned_abs())
    }

    pub fn memory_bytes(self) -> Result<u64, DriverError> {
        let mut bytes = 0usize;
        // SAFETY: the driver writes one number.
        done(unsafe { (self.table.cuDeviceTotalMem_v2)(&mut bytes, self.handle) })?;
        Ok(bytes as u64)
    }

    pub fn name(self) -> Result<String, DriverError> {
        self.text(self.table.cuDeviceGetName)
    }

    /// Domain, bus, device and function, as the driver writes them: `0000:01:00.0`.
    pub fn pci_bus_id(self) -> Result<String, DriverError> {
        self.text(self.table.cuDeviceGetPCIBusId)
    }

    fn text(self, fill: Fill) -> Result<String, DriverError> {
        let mut text = [0u8; 256];
        // SAFETY: the driver writes no more bytes than it is told that there are.
        done(unsafe { fill(text.as_mut_ptr().cast(), text.len() as c_int, self.handle) })?;
        let text = CStr::from_bytes_until_nul(&text);
        Ok(text.map_or(String::new(), |t| t.to_string_lossy().into_owned()))
    }
}
