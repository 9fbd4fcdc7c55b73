//! Writes down scheduled loops as Cranelift code: f32x4 on any target that Cranelift knows.
//!
//! Decides nothing: unrolled loops are written out, elements of register arrays become Cranelift variables,
//! addresses are a base, the terms of loop variables, and a constant displacement. Multiply-adds are fused
//! where the target has the instruction; elsewhere they are a multiplication and an addition, since
//! Cranelift would call a function for each. Does not know operators, nests or the memory plan.

use std::collections::BTreeMap;

use cranelift::codegen::control::ControlPlane;
use cranelift::codegen::ir::{Endianness, MemFlagsData, UserFuncName};
use cranelift::codegen::isa::OwnedTargetIsa;
use cranelift::codegen::settings;
use cranelift::jit::{JITBuilder, JITModule};
use cranelift::module::{Module, ModuleError, default_libcall_names};
use cranelift::prelude::*;

use super::code::uniform_offset;
use super::math::Vectors;
use super::pointer::Pointer;
use super::{math, order};
use crate::nest::loops::{At, BufId, Expr as V, Kernel, Kind, RegId, Stmt, ValueId, Var, Write};

mod loads;
mod loops;
mod random;
mod rows;
mod vectors;

/// Compiled kernels. Their memory is freed when this is dropped.
pub struct Code {
    module: Option<JITModule>,
    entries: Vec<Entry>,
}

pub use lenetc_runtime::exec::{Entry, Uniforms};

impl Code {
    /// Compiles kernels of four lanes for this machine.
    pub fn compile(kernels: &[Kernel]) -> Result<Self, Box<ModuleError>> {
        Self::compile_for(Target::native(true)?, kernels)
    }

    /// The same with what every processor of this architecture has: on x86-64 without fused multiply-adds.
    pub fn compile_baseline(kernels: &[Kernel]) -> Result<Self, Box<ModuleError>> {
        Self::compile_for(Target::native(false)?, kernels)
    }

    fn compile_for(target: Target, kernels: &[Kernel]) -> Result<Self, Box<ModuleError>> {
        let isa = target.emitting.clone();
        let mut code = Self {
            module: Some(JITModule::new(JITBuilder::with_isa(
                isa,
                default_libcall_names(),
            ))),
            entries: vec![],
        };
        code.define(kernels, &target)?;
        Ok(code)
    }

    fn define(&mut self, kernels: &[Kernel], target: &Target) -> Result<(), Box<ModuleError>> {
        let Some(module) = self.module.as_mut() else {
            return Ok(());
        };
        let mut ids = Vec::new();
        let mut functions = FunctionBuilderContext::new();
        for (index, k) in kernels.iter().enumerate() {
            let mut context = module.make_context();
            context.func = function(k, module.isa(), index as u32, &mut functions);
            target
                .optimise(&mut context)
                .map_err(ModuleError::Compilation)?;
            let id = module.declare_anonymous_function(&context.func.signature)?;
            module.define_function(id, &mut context)?;
            ids.push(id);
        }
        module.finalize_definitions()?;
        for id in ids {
            let code = module.get_finalized_function(id);
            // SAFETY: the function was defined with the signature that `Entry` has.
            self.entries
                .push(unsafe { std::mem::transmute::<*const u8, Entry>(code) });
        }
        Ok(())
    }

    /// A kernel's entry; valid while `self` lives.
    pub fn entry(&self, kernel: usize) -> Entry {
        self.entries[kernel]
    }

    /// Runs a kernel on this thread.
    ///
    /// # Safety
    /// `buffers` holds a pointer for each buffer of the kernel, in their order, each to as many elements as
    /// the buffer has, and looked-up indices are below the number of entries of the data that they index.
    /// No other thread writes what the kernel reads, or touches what it writes.
    pub unsafe fn call(&self, kernel: usize, buffers: &[*mut u8], uniforms: &Uniforms) {
        // SAFETY: the caller keeps the contract above, and the code lives as long as `self`.
        unsafe { self.entries[kernel](buffers.as_ptr(), uniforms) }
    }
}

// SAFETY: finished code is only read and run; the module is touched again only when it is dropped.
unsafe impl Send for Code {}
// SAFETY: as above.
unsafe impl Sync for Code {}

impl Drop for Code {
    fn drop(&mut self) {
        if let Some(module) = self.module.take() {
            // SAFETY: entries are called through `self` only, so none runs or will run.
            unsafe { module.free_memory() }
        }
    }
}

/// What code is made for, twice: as Cranelift optimises and as it emits. The second does not optimise, since
/// that would undo the order of instructions.
pub struct Target {
    optimising: OwnedTargetIsa,
    emitting: OwnedTargetIsa,
}

impl Target {
    /// This machine, with all that its processor has or with what every processor of its architecture has.
    pub fn native(features: bool) -> Result<Self, Box<ModuleError>> {
        Self::new(|| {
            cranelift::native::builder_with_options(features)
                .map_err(|e| codegen::CodegenError::Unsupported(e.into()))
        })
        .map_err(|e| Box::new(ModuleError::Compilation(e)))
    }

    /// A target by name, as `aarch64`.
    pub fn named(name: &str) -> Result<Self, String> {
        Self::new(|| {
            codegen::isa::lookup_by_name(name)
                .map_err(|e| codegen::CodegenError::Unsupported(e.to_string()))
        })
        .map_err(|e| e.to_string())
    }

    fn new(
        builder: impl Fn() -> Result<codegen::isa::Builder, codegen::CodegenError>,
    ) -> Result<Self, codegen::CodegenError> {
        Ok(Self {
            optimising: finish(builder()?, "speed")?,
            emitting: finish(builder()?, "none")?,
        })
    }

    /// Optimises a function and restores the order in which it was emitted.
    fn optimise(&self, context: &mut codegen::Context) -> Result<(), codegen::CodegenError> {
        context.optimize(&*self.optimising, &mut ControlPlane::default())?;
        order::restore(&mut context.func);
        Ok(())
    }
}

/// A target at one of Cranelift's levels of optimisation.
fn finish(
    builder: codegen::isa::Builder,
    level: &str,
) -> Result<OwnedTargetIsa, codegen::CodegenError> {
    let mut flags = settings::builder();
    for (name, value) in [
        ("opt_level", level),
        ("enable_verifier", "false"),
        ("is_pic", "false"),
    ] {
        flags
            .set(name, value)
            .expect("Cranelift has these settings");
    }
    builder.finish(settings::Flags::new(flags))
}

/// Kernels as Cranelift's text, before Cranelift optimises them.
pub fn text(kernels: &[Kernel], target: &Target) -> String {
    let numbered = kernels.iter().zip(0..);
    numbered
        .map(|(k, number)| listing(k, number, target))
        .collect()
}

/// A kernel as the function of this number, before Cranelift optimises it.
pub fn listing(k: &Kernel, number: u32, target: &Target) -> String {
    let mut functions = FunctionBuilderContext::new();
    let f = function(k, &*target.emitting, number, &mut functions);
    format!("; {}\n{}\n", k.name, f.display())
}

/// Kernels as machine code, disassembled.
pub fn assembly(kernels: &[Kernel], target: &Target) -> Result<String, codegen::CodegenError> {
    let mut functions = FunctionBuilderContext::new();
    let mut out = String::new();
    for (k, index) in kernels.iter().zip(0..) {
        let f = function(k, &*target.emitting, index, &mut functions);
        let mut context = codegen::Context::for_function(f);
        target.optimise(&mut context)?;
        context.set_disasm(true);
        let code = context
            .compile(&*target.emitting, &mut ControlPlane::default())
            .map_err(|e| e.inner)?;
        let listing = code.vcode.as_deref().unwrap_or("");
        out.push_str(&format!("; {}\n{listing}\n", k.name));
    }
    Ok(out)
}

/// The Cranelift function of a kernel, before Cranelift optimises it.
pub fn function(
    k: &Kernel,
    isa: &dyn codegen::isa::TargetIsa,
    index: u32,
    context: &mut FunctionBuilderContext,
) -> codegen::ir::Function {
    assert_eq!(k.lanes, 4, "Cranelift's vectors hold four f32");
    let pointer = isa.pointer_type();
    let mut signature = Signature::new(isa.default_call_conv());
    signature.params = [pointer, pointer].map(AbiParam::new).to_vec();
    let mut f = codegen::ir::Function::with_name_signature(UserFuncName::user(0, index), signature);
    let mut b = FunctionBuilder::new(&mut f, context);
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    b.seal_block(entry);
    let (table, uniforms) = (b.block_params(entry)[0], b.block_params(entry)[1]);
    let bases = (0..k.buffers.len() as i32)
        .map(|i| {
            b.ins().load(
                pointer,
                memory().with_readonly(),
                table,
                i * pointer.bytes() as i32,
            )
        })
        .collect();
    let regs = k
        .regs
        .iter()
        .map(|r| {
            (0..r.dims.iter().product::<u32>())
                .map(|_| b.declare_var(types::F32X4))
                .collect()
        })
        .collect();
    let fma = vectors::has_fma(isa);
    let vars = BTreeMap::new();
    let mut e = Emitter {
        k,
        b,
        bases,
        uniforms,
        regs,
        vars,
        fma,
        pointers: BTreeMap::new(),
        loads: 0,
        apart: false,
    };
    e.body(&k.body);
    e.b.ins().return_(&[]);
    e.b.finalize(isa.frontend_config());
    f
}

/// The value of a loop variable.
#[derive(Clone, Copy)]
enum Index {
    Known(i64),
    Run(Value),
}

struct Emitter<'a> {
    k: &'a Kernel,
    b: FunctionBuilder<'a>,
    bases: Vec<Value>,
    uniforms: Value,
    regs: Vec<Vec<Variable>>,
    vars: BTreeMap<Var, Index>,
    fma: bool,
    /// Pointers that the innermost loop carries, or that were computed in it.
    pointers: BTreeMap<Pointer, Value>,
    /// Statements that set a register so far: what sets their loads apart.
    loads: i64,
    /// A register is being loaded from memory, even where an earlier one holds the same.
    apart: bool,
}

impl Emitter<'_> {
    fn body(&mut self, stmts: &[Stmt]) {
        for s in stmts {
            match s {
                Stmt::For {
                    dims,
                    kind: Kind::Unrolled,
                    body,
                } => self.unrolled(&dims[0], body),
                Stmt::For {
                    dims,
                    kind: Kind::Serial,
                    body,
                } => self.serial(dims, body),
                Stmt::If { conditions, body } => self.guard(conditions, body),
                Stmt::Set { reg, index, value } => {
                    self.loads += 1;
                    self.apart = matches!(self.k.exprs[value.0 as usize], V::Load(..));
                    let value = self.value(*value);
                    self.apart = false;
                    let variable = self.register(*reg, index);
                    self.b.def_var(variable, value);
                }
                Stmt::Store {
                    buf,
                    at,
                    how,
                    value,
                } => {
                    let value = self.value(*value);
                    let value = match how {
                        Write::Vector => value,
                        Write::First => self.b.ins().extractlane(value, 0),
                        Write::Row(lanes, step) => {
                            self.store_row(*buf, at, (lanes, *step), value);
                            continue;
                        }
                    };
                    let (base, offset) = self.address(*buf, at);
                    self.b.ins().store(memory(), value, base, offset);
                }
                Stmt::Note(_) => {}
                Stmt::For { .. } | Stmt::SetRow { .. } | Stmt::StoreRow { .. } | Stmt::Barrier => {
                    panic!("a CPU has no blocks of threads")
                }
            }
        }
    }

    /// The part that is known at run time only, if any, and the constant; both times `scale`.
    fn affine(&mut self, a: &At, scale: i64) -> (Option<Value>, i64) {
        let mut constant = a.constant;
        let mut sum = None;
        for &(v, c) in &a.terms {
            match self.vars[&v] {
                Index::Known(i) => constant += c * i,
                Index::Run(i) => {
                    let term = if c * scale == 1 {
                        i
                    } else {
                        self.b.ins().imul_imm_s(i, c * scale)
                    };
                    sum = Some(sum.map_or(term, |s| self.b.ins().iadd(s, term)));
                }
            }
        }
        (sum, constant * scale)
    }

    fn size(&self, buf: BufId) -> i64 {
        self.k.buffers[buf.0 as usize].dtype.size_bytes() as i64
    }

    fn address(&mut self, buf: BufId, at: &At) -> (Value, i32) {
        let (mut base, mut constant) = self.pointer(buf, at);
        if self.apart {
            // The same place as another sum of pointer and displacement, so that the optimiser takes it for
            // another one; the machine instruction holds the displacement as it was.
            let shift = self.loads * 16;
            base = self.b.ins().iadd_imm_s(base, shift);
            constant -= shift;
        }
        match i32::try_from(constant) {
            Ok(offset) => (base, offset),
            Err(_) => (self.b.ins().iadd_imm_s(base, constant), 0),
        }
    }

    /// The pointer that a loop carries for this access, or a new one, and what is to be added.
    fn pointer(&mut self, buf: BufId, at: &At) -> (Value, i64) {
        let size = self.size(buf);
        let run = |v: Var| matches!(self.vars[&v], Index::Run(_));
        if let Some(&p) = self.pointers.get(&Pointer::new(buf, at, run)) {
            let known = |v| match self.vars[&v] {
                Index::Known(i) => i,
                Index::Run(_) => 0,
            };
            return (p, at.eval(known) * size);
        }
        let new = Pointer::new(buf, at, run);
        let (sum, constant) = self.affine(at, size);
        let base = self.bases[buf.0 as usize];
        let p = sum.map_or(base, |s| self.b.ins().iadd(base, s));
        self.pointers.insert(new, p);
        (p, constant)
    }

    fn register(&self, reg: RegId, index: &[At]) -> Variable {
        let dims = &self.k.regs[reg.0 as usize].dims;
        let slot = index.iter().zip(dims).fold(0, |s, (i, &d)| {
            let i = self.constant(i);
            s * i64::from(d) + i.expect("a register is indexed by what is known when compiling")
        });
        self.regs[reg.0 as usize][slot as usize]
    }

    fn value(&mut self, v: ValueId) -> Value {
        match &self.k.exprs[v.0 as usize] {
            V::Const(bits) => vectors::splat(&mut self.b, f32::from_bits(*bits)),
            V::Uniform(u) => self.uniform(uniform_offset(*u)),
            V::Random(draw) => self.random(draw),
            V::Number(at) => self.number(at),
            V::Lane(at) => {
                let first = self.number(at);
                let lanes = vectors::lanes(&mut self.b);
                self.b.ins().fadd(first, lanes)
            }
            V::Reg(reg, index) => {
                let variable = self.register(*reg, index);
                self.b.use_var(variable)
            }
            V::Load(buf, at, how) => self.load(*buf, at, how),
            V::Unary(f, x) => {
                let x = self.value(*x);
                math::unary(self, *f, x)
            }
            V::Binary(f, x, y) => {
                let number = self.k.is_number(*x);
                let (x, y) = (self.value(*x), self.value(*y));
                math::binary(self, *f, x, y, number)
            }
            V::Fma(x, y, z) => {
                let [x, y, z] = [x, y, z].map(|v| self.value(*v));
                self.fma(x, y, z)
            }
            V::Select(c, xs) => {
                let [x, y, yes, no] = xs.map(|v| self.value(v));
                self.select(*c, x, y, yes, no)
            }
            V::ReduceLanes(x) => {
                let x = self.value(*x);
                let sum = vectors::reduce(&mut self.b, x);
                self.b.ins().splat(types::F32X4, sum)
            }
            V::Split(n, x, y) => {
                let (x, y) = (self.value(*x), self.value(*y));
                self.split(n, x, y)
            }
            V::Within(..) => panic!("a CPU's schedule peels borders"),
            V::Transposed(xs, lane) => {
                let rows: Vec<Value> = xs.iter().map(|x| self.value(*x)).collect();
                vectors::transposed(&mut self.b, &rows, *lane)
            }
        }
    }

    fn number(&mut self, at: &At) -> Value {
        let (sum, constant) = self.affine(at, 1);
        match sum {
            None => vectors::splat(&mut self.b, constant as f32),
            Some(sum) => {
                let i = self.b.ins().iadd_imm_s(sum, constant);
                let x = self.b.ins().fcvt_from_sint(types::F32, i);
                self.b.ins().splat(types::F32X4, x)
            }
        }
    }
}

/// Accesses do not trap: the verifier and the interpreter hold them inside their buffers. They are aligned to
/// elements only, so nothing is promised about vectors.
fn memory() -> MemFlagsData {
    MemFlagsData::new().with_notrap()
}

/// Little-endian lanes: what a bit cast between vector types needs said.
fn cast_flags() -> MemFlagsData {
    MemFlagsData::new().with_endianness(Endianness::Little)
}
