#include <onnxruntime_c_api.h>

#include <list>

#include "error.h"
#include "runtime.h"

namespace livejam {
namespace {

// The oldest version with all that is used here: libraries that are younger than it have it too.
constexpr uint32_t API = 11;

template <typename T>
using Release = void(ORT_API_CALL *)(T *);

template <typename T>
using Owned = std::unique_ptr<T, Release<T>>;

class Library {
public:
    Library() : api(OrtGetApiBase()->GetApi(API)) {
        require(api != nullptr, std::string("this ONNX Runtime (") + OrtGetApiBase()->GetVersionString() +
                                    ") is too old; install 1.11 or a later one");
    }

    void check(OrtStatus *status) const {
        if (status == nullptr) return;
        const std::string message = api->GetErrorMessage(status);
        api->ReleaseStatus(status);
        throw Error(message);
    }

    template <typename T>
    Owned<T> own(T *held, Release<T> release) const {
        return Owned<T>(held, release);
    }

    const OrtApi *api;
};

class OnnxGraph : public Graph {
public:
    OnnxGraph(const Library &library, const OrtEnv *env, const std::filesystem::path &file, const GraphFacts &facts,
              Buffers &inputs, Buffers &outputs)
        : library_(library), session_(nullptr, library.api->ReleaseSession) {
        OrtSessionOptions *options = nullptr;
        library.check(library.api->CreateSessionOptions(&options));
        const auto owned = library.own(options, library.api->ReleaseSessionOptions);
        library.check(library.api->SetIntraOpNumThreads(options, 1));
        library.check(library.api->SetInterOpNumThreads(options, 1));
        OrtSession *session = nullptr;
        library.check(library.api->CreateSession(env, file.c_str(), options, &session));
        session_.reset(session);
        bind(facts.inputs, inputs, inputs_, input_names_);
        bind(facts.outputs, outputs, outputs_, output_names_);
    }

    ~OnnxGraph() override {
        for (OrtValue *value : inputs_) library_.api->ReleaseValue(value);
        for (OrtValue *value : outputs_) library_.api->ReleaseValue(value);
    }

    void run() override {
        library_.check(library_.api->Run(session_.get(), nullptr, input_names_.data(), inputs_.data(), inputs_.size(),
                                         output_names_.data(), outputs_.size(), outputs_.data()));
    }

private:
    void bind(const std::vector<TensorFacts> &tensors, Buffers &buffers, std::vector<OrtValue *> &values,
              std::vector<const char *> &names) {
        OrtMemoryInfo *info = nullptr;
        library_.check(library_.api->CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &info));
        const auto owned = library_.own(info, library_.api->ReleaseMemoryInfo);
        for (const TensorFacts &facts : tensors) {
            const auto type = facts.dtype == "int32" ? ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32
                                                     : ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
            OrtValue *value = nullptr;
            library_.check(library_.api->CreateTensorWithDataAsOrtValue(
                info, buffers.at(facts.name).floats(), 4 * facts.count(), facts.shape.data(), facts.shape.size(), type,
                &value));
            values.push_back(value);
            names.push_back(names_.emplace_back(facts.name).c_str());
        }
    }

    const Library &library_;
    Owned<OrtSession> session_;
    std::list<std::string> names_;  // a list, as the texts must stay where they are
    std::vector<const char *> input_names_, output_names_;
    std::vector<OrtValue *> inputs_, outputs_;
};

class OnnxRuntime : public Runtime {
public:
    OnnxRuntime() : env_(nullptr, library_.api->ReleaseEnv) {
        OrtEnv *env = nullptr;
        library_.check(library_.api->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "livejam", &env));
        env_.reset(env);
    }

    std::unique_ptr<Graph> open(const std::filesystem::path &file, const GraphFacts &facts, Buffers &inputs,
                                Buffers &outputs) override {
        return std::make_unique<OnnxGraph>(library_, env_.get(), file, facts, inputs, outputs);
    }

private:
    Library library_;
    Owned<OrtEnv> env_;
};

}  // namespace

std::unique_ptr<Runtime> make_runtime() { return std::make_unique<OnnxRuntime>(); }

}  // namespace livejam
