//! Captures of streams into graphs: what they freeze, forbid and follow.

mod common;

use common::fill::{code, fill, fill_kernel};
use common::session;
use cudarc::driver::sys::{self, CUgraphInstantiate_flags, CUresult, CUstreamCaptureMode};

#[test]
fn captures_freeze_arguments_and_forbid_waiting() {
    let s = session("");
    let stream = s.context.new_stream().unwrap();
    let function = fill_kernel(&s);
    let mut data = stream.alloc_zeros::<f32>(32).unwrap();
    stream.synchronize().unwrap();
    let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
    stream.begin_capture(mode).unwrap();
    let mut value = 5.0;
    stream.memset_zeros(&mut data).unwrap();
    fill(&stream, &function, &mut data, value).unwrap();
    value = 6.0;
    let graph = stream
        .end_capture(CUgraphInstantiate_flags(0))
        .unwrap()
        .unwrap();
    let mut nodes = 0;
    assert_eq!(
        unsafe { sys::cuGraphGetNodes(graph.cu_graph(), std::ptr::null_mut(), &mut nodes) },
        CUresult::CUDA_SUCCESS
    );
    assert_eq!(nodes, 2);
    fill(&stream, &function, &mut data, value).unwrap();
    graph.launch().unwrap();
    assert_eq!(stream.clone_dtoh(&data).unwrap(), [5.0; 32]);
    stream.begin_capture(mode).unwrap();
    assert_eq!(
        code(stream.synchronize()),
        CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED
    );
    assert_eq!(
        code(stream.end_capture(CUgraphInstantiate_flags(0))),
        CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED
    );
    assert_eq!(
        stream.capture_status().unwrap(),
        sys::CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE
    );
}

#[test]
fn captures_follow_events_into_other_streams() {
    let s = session("");
    let (main, side) = (
        s.context.new_stream().unwrap(),
        s.context.new_stream().unwrap(),
    );
    let function = fill_kernel(&s);
    let mut data = main.alloc_zeros::<f32>(32).unwrap();
    main.synchronize().unwrap();
    let outside = main.record_event(None).unwrap();
    let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
    let mut capture = |joins: bool| {
        main.begin_capture(mode).unwrap();
        side.join(&main).unwrap();
        fill(&side, &function, &mut data, 8.0).unwrap();
        if joins {
            main.join(&side).unwrap();
        }
        main.end_capture(CUgraphInstantiate_flags(0))
    };
    assert_eq!(
        code(capture(false)),
        CUresult::CUDA_ERROR_STREAM_CAPTURE_UNJOINED
    );
    capture(true).unwrap().unwrap().launch().unwrap();
    assert_eq!(main.clone_dtoh(&data).unwrap(), [8.0; 32]);
    main.begin_capture(mode).unwrap();
    assert_eq!(
        code(main.wait(&outside)),
        CUresult::CUDA_ERROR_STREAM_CAPTURE_ISOLATION
    );
    assert_eq!(
        code(main.end_capture(CUgraphInstantiate_flags(0))),
        CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED
    );
}
