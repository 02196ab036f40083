#include <openvino/openvino.hpp>

#include "error.h"
#include "runtime.h"

namespace livejam {
namespace {

ov::Tensor over(const TensorFacts &facts, Buffers &buffers) {
    const auto type = facts.dtype == "int32" ? ov::element::i32 : ov::element::f32;
    const ov::Shape shape(facts.shape.begin(), facts.shape.end());
    return {type, shape, buffers.at(facts.name).floats()};
}

class OpenVinoGraph : public Graph {
public:
    OpenVinoGraph(ov::Core &core, const std::filesystem::path &file, const GraphFacts &facts, Buffers &inputs,
                  Buffers &outputs) {
        // processors with bfloat16 would round, and threads that wait for each other stumble on a busy machine
        auto compiled = core.compile_model(file.string(), "CPU", ov::hint::inference_precision(ov::element::f32),
                                           ov::hint::execution_mode(ov::hint::ExecutionMode::ACCURACY),
                                           ov::inference_num_threads(1), ov::num_streams(1));
        request_ = compiled.create_infer_request();
        for (const TensorFacts &tensor : facts.inputs) request_.set_tensor(tensor.name, over(tensor, inputs));
        for (const TensorFacts &tensor : facts.outputs) request_.set_tensor(tensor.name, over(tensor, outputs));
    }

    void run() override {
        try {
            request_.infer();
        } catch (const std::exception &error) {
            throw Error(error.what());
        }
    }

private:
    ov::InferRequest request_;
};

class OpenVino : public Runtime {
public:
    std::unique_ptr<Graph> open(const std::filesystem::path &file, const GraphFacts &facts, Buffers &inputs,
                                Buffers &outputs) override {
        try {
            return std::make_unique<OpenVinoGraph>(core_, file, facts, inputs, outputs);
        } catch (const std::exception &error) {
            throw Error(error.what());
        }
    }

private:
    ov::Core core_;
};

}  // namespace

std::unique_ptr<Runtime> make_runtime() { return std::make_unique<OpenVino>(); }

}  // namespace livejam
