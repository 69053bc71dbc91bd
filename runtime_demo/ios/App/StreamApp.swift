import EdgeText
import SwiftUI

@main
struct StreamApp: App {
    var body: some Scene {
        WindowGroup {
            StreamView()
        }
    }
}

/// Streams text with the network in C. The text goes on where it was when the app was ended.
struct StreamView: View {
    @Environment(\.scenePhase) private var phase
    @StateObject private var stream = TextStream()
    @State private var prompt = "def "

    var body: some View {
        VStack(alignment: .leading) {
            TextField("Prompt", text: $prompt)
                .textInputAutocapitalization(.never)
                .autocorrectionDisabled()
            HStack {
                Button("Stream") { stream.start(prompt) }
                Button("Continue") { stream.resume() }
                Button("Stop") { stream.stop() }
            }
            ScrollView {
                Text(stream.shown)
                    .font(.system(.body, design: .monospaced))
                    .frame(maxWidth: .infinity, alignment: .leading)
            }
        }
        .padding()
        .onChange(of: phase) { phase in
            if phase != .active {
                stream.save()
            }
        }
    }
}

/// A text and the task that draws it.
@MainActor
final class TextStream: ObservableObject {
    @Published private(set) var shown = ""
    private var text: EdgeText?
    private var task: Task<Void, Never>?

    init() {
        do {
            text = try EdgeText()
        } catch {
            shown = error.localizedDescription
        }
        restore()
    }

    /// Begins a text after a prompt.
    func start(_ prompt: String) {
        shown = prompt
        run { text in
            await text.begin(seed: 7)
            try await text.sample(temperature: 0.8, topK: 40)
            try await text.read(prompt)
        }
    }

    /// Goes on with the text.
    func resume() {
        run { _ in }
    }

    func stop() {
        task?.cancel()
    }

    /// Stops, and writes the text and its state to a file.
    func save() {
        stop()
        guard let text else { return }
        Task {
            await task?.value
            let saved = SavedText(shown: shown, state: await text.snapshot())
            try? JSONEncoder().encode(saved).write(to: SavedText.file, options: .atomic)
        }
    }

    private func restore() {
        guard let text, let data = try? Data(contentsOf: SavedText.file),
            let saved = try? JSONDecoder().decode(SavedText.self, from: data)
        else { return }
        Task {
            do {
                try await text.restore(saved.state)
                shown = saved.shown
            } catch {  // another version of the app wrote it
                shown = ""
            }
        }
    }

    /// Draws tokens after `begin`, until there are 2000 or another task begins.
    private func run(_ begin: @escaping (EdgeText) async throws -> Void) {
        let previous = task
        previous?.cancel()
        guard let text else { return }
        task = Task {
            await previous?.value
            do {
                try await begin(text)
                for _ in 0..<2000 {
                    guard !Task.isCancelled, let part = try await text.next() else { return }
                    shown += part
                }
            } catch {
                shown += "\n\(error.localizedDescription)"
            }
        }
    }
}

/// A text in a file.
private struct SavedText: Codable {
    static let file = URL.documentsDirectory.appending(path: "text.json")

    let shown: String
    let state: Data
}
