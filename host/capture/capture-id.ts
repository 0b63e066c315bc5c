/** In an answer of the control API: what the capture is ended by, in a DELETE of /v1/capture/ID. */
export const CAPTURE_ID_HEADER = 'portferry-capture';
