import Foundation
import IotoSimulation

exit(IotosimCommand.run(Array(CommandLine.arguments.dropFirst())))
