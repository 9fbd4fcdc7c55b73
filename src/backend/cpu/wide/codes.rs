//! The instruction of each vector operation at each width: a table.
//!
//! Does not know operands or registers.

use iced_x86::Code as C;

use super::ir::{Form, Op};

/// What takes a result, vectors of which the last may lie in memory, and perhaps a constant; at 256 and 512 bits.
pub fn plain(op: Op, avx512: bool) -> Option<(C, Option<u8>)> {
    let [narrow, wide] = codes(op)?;
    Some((if avx512 { wide } else { narrow }, immediate(op)))
}

fn immediate(op: Op) -> Option<u8> {
    match op {
        Op::Left(n) | Op::Right(n) | Op::RightSigned(n) => Some(n),
        Op::Compare(n) | Op::Quarters(n) | Op::Permute(n) => Some(n),
        Op::Shuffle(n) | Op::Pairs(n) => Some(n),
        _ => None,
    }
}

#[rustfmt::skip]
fn codes(op: Op) -> Option<[C; 2]> {
    Some(match op {
        Op::Load => [C::VEX_Vmovups_ymm_ymmm256, C::EVEX_Vmovups_zmm_k1z_zmmm512],
        Op::LoadBytes => [C::VEX_Vpmovzxbd_ymm_xmmm64, C::EVEX_Vpmovzxbd_zmm_k1z_xmmm128],
        Op::Splat => [C::VEX_Vbroadcastss_ymm_m32, C::EVEX_Vbroadcastss_zmm_k1z_xmmm32],
        Op::Copy => [C::VEX_Vmovaps_ymm_ymmm256, C::EVEX_Vmovaps_zmm_k1z_zmmm512],
        Op::Add => [C::VEX_Vaddps_ymm_ymm_ymmm256, C::EVEX_Vaddps_zmm_k1z_zmm_zmmm512b32_er],
        Op::Sub => [C::VEX_Vsubps_ymm_ymm_ymmm256, C::EVEX_Vsubps_zmm_k1z_zmm_zmmm512b32_er],
        Op::Mul => [C::VEX_Vmulps_ymm_ymm_ymmm256, C::EVEX_Vmulps_zmm_k1z_zmm_zmmm512b32_er],
        Op::Div => [C::VEX_Vdivps_ymm_ymm_ymmm256, C::EVEX_Vdivps_zmm_k1z_zmm_zmmm512b32_er],
        Op::Min => [C::VEX_Vminps_ymm_ymm_ymmm256, C::EVEX_Vminps_zmm_k1z_zmm_zmmm512b32_sae],
        Op::Max => [C::VEX_Vmaxps_ymm_ymm_ymmm256, C::EVEX_Vmaxps_zmm_k1z_zmm_zmmm512b32_sae],
        Op::Sqrt => [C::VEX_Vsqrtps_ymm_ymmm256, C::EVEX_Vsqrtps_zmm_k1z_zmmm512b32_er],
        Op::And => [C::VEX_Vandps_ymm_ymm_ymmm256, C::EVEX_Vpandd_zmm_k1z_zmm_zmmm512b32],
        Op::Or => [C::VEX_Vorps_ymm_ymm_ymmm256, C::EVEX_Vpord_zmm_k1z_zmm_zmmm512b32],
        Op::Xor => [C::VEX_Vxorps_ymm_ymm_ymmm256, C::EVEX_Vpxord_zmm_k1z_zmm_zmmm512b32],
        Op::IntegerAdd => [C::VEX_Vpaddd_ymm_ymm_ymmm256, C::EVEX_Vpaddd_zmm_k1z_zmm_zmmm512b32],
        Op::IntegerSub => [C::VEX_Vpsubd_ymm_ymm_ymmm256, C::EVEX_Vpsubd_zmm_k1z_zmm_zmmm512b32],
        Op::Left(_) => [C::VEX_Vpslld_ymm_ymm_imm8, C::EVEX_Vpslld_zmm_k1z_zmmm512b32_imm8],
        Op::Right(_) => [C::VEX_Vpsrld_ymm_ymm_imm8, C::EVEX_Vpsrld_zmm_k1z_zmmm512b32_imm8],
        Op::RightSigned(_) => [C::VEX_Vpsrad_ymm_ymm_imm8, C::EVEX_Vpsrad_zmm_k1z_zmmm512b32_imm8],
        Op::Number => [C::VEX_Vcvtdq2ps_ymm_ymmm256, C::EVEX_Vcvtdq2ps_zmm_k1z_zmmm512b32_er],
        Op::FmaForm(Form::F132) => [C::VEX_Vfmadd132ps_ymm_ymm_ymmm256, C::EVEX_Vfmadd132ps_zmm_k1z_zmm_zmmm512b32_er],
        Op::FmaForm(Form::F213) => [C::VEX_Vfmadd213ps_ymm_ymm_ymmm256, C::EVEX_Vfmadd213ps_zmm_k1z_zmm_zmmm512b32_er],
        Op::FmaForm(Form::F231) => [C::VEX_Vfmadd231ps_ymm_ymm_ymmm256, C::EVEX_Vfmadd231ps_zmm_k1z_zmm_zmmm512b32_er],
        Op::Compare(_) => [C::VEX_Vcmpps_ymm_ymm_ymmm256_imm8, C::EVEX_Vcmpps_kr_k1_zmm_zmmm512b32_imm8_sae],
        Op::Unpack { pairs: false, high: false } => [C::VEX_Vunpcklps_ymm_ymm_ymmm256, C::EVEX_Vunpcklps_zmm_k1z_zmm_zmmm512b32],
        Op::Unpack { pairs: false, high: true } => [C::VEX_Vunpckhps_ymm_ymm_ymmm256, C::EVEX_Vunpckhps_zmm_k1z_zmm_zmmm512b32],
        Op::Unpack { pairs: true, high: false } => [C::VEX_Vunpcklpd_ymm_ymm_ymmm256, C::EVEX_Vunpcklpd_zmm_k1z_zmm_zmmm512b64],
        Op::Unpack { pairs: true, high: true } => [C::VEX_Vunpckhpd_ymm_ymm_ymmm256, C::EVEX_Vunpckhpd_zmm_k1z_zmm_zmmm512b64],
        Op::Quarters(_) => [C::VEX_Vperm2f128_ymm_ymm_ymmm256_imm8, C::EVEX_Vshuff32x4_zmm_k1z_zmm_zmmm512b32_imm8],
        Op::Permute(_) => [C::VEX_Vpermilps_ymm_ymmm256_imm8, C::EVEX_Vpermilps_zmm_k1z_zmmm512b32_imm8],
        Op::Shuffle(_) => [C::VEX_Vshufps_ymm_ymm_ymmm256_imm8, C::EVEX_Vshufps_zmm_k1z_zmm_zmmm512b32_imm8],
        Op::Pairs(_) => [C::VEX_Vpermpd_ymm_ymmm256_imm8, C::EVEX_Vpermpd_zmm_k1z_zmmm512b64_imm8],
        Op::Rows => [C::VEX_Vpmovzxdq_ymm_xmmm128, C::EVEX_Vpmovzxdq_zmm_k1z_ymmm256],
        Op::RowTimes => [C::VEX_Vpmuludq_ymm_ymm_ymmm256, C::EVEX_Vpmuludq_zmm_k1z_zmm_zmmm512b64],
        _ => return None,
    })
}
